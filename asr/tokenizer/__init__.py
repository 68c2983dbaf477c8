"""A speech tokenizer taught to recognise: Whisper's encoder, made causal, with a book of codes."""

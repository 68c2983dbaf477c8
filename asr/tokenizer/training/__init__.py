"""Teaching a speech tokenizer: Whisper recognises what is left of speech behind its codes."""

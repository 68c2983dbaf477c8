"""Speech and text in one language model: an LLM that reads and writes codes beside its words."""

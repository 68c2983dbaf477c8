"""Training of unified language models: packed sequences, three stages, and what comes out."""

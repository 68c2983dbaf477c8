"""Text side of recognition: normalisers that make transcripts comparable."""

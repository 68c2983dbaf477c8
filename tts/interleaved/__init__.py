"""Text whose spans of words are codes, made of text alone: speech to learn from without sound."""

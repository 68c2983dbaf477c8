"""Paraformer on sound that has not ended: windows in, tokens out once they are complete."""

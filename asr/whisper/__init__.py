"""Whisper: weights, the model, and decoding of our own."""

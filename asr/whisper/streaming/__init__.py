"""Whisper while the sound arrives: a block-causal encoder and three policies for the text."""

"""Paraformer: one pass of an encoder, a predicted number of tokens, one pass of a decoder."""

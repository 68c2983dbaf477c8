"""Experiments, and the command line that puts the pieces together."""

"""The error of everything that reads or writes models for recognition."""


class CheckpointError(ValueError):
    """A model cannot be found or read; the message is one line that names the remedy."""

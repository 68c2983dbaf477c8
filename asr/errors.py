"""Errors whose message is one line for users."""


class CheckpointError(ValueError):
    """A model cannot be found or read; the message is one line that names the remedy."""


class ServerError(ValueError):
    """A server that transcribes for us refuses a recording, or cannot be reached."""

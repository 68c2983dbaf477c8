"""What can be wrong with a codec, in one line each."""


class CodecError(ValueError):
    """A codec cannot be loaded; the message says why and what would help."""


class NotStreamable(ValueError):
    """A codec needs the whole recording; the message says what for."""

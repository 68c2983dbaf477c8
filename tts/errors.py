"""What goes wrong with voices and models, in one line each."""


class TtsError(ValueError):
    """A model, voice or text that cannot be used; the message names it and the mend."""

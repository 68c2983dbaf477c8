"""What reading and writing sound can raise or warn of; every message is one line."""


class AudioDecodeError(ValueError):
    """A source that cannot be read as sound.

    The text is one line: the source's name, what is wrong with it, and what to do.
    """

    def __init__(self, name: str, problem: str, mend: str) -> None:
        super().__init__(f"{name}: {one_line(problem)}; {one_line(mend)}")
        self.name = name


class AudioWarning(UserWarning):
    """Sound that could be read or written only in part or with a change, such as clipping."""


def error_line(error: BaseException) -> str:
    """Returns what an exception says as one line; a system's error is told as any other is."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{one_line(error.filename)}: {error.strerror}; check the path"
    return one_line(str(error))


def one_line(text: str) -> str:
    """Folds every run of white space to one blank and shows unprintable characters by number."""
    folded = " ".join(str(text).split())
    return "".join(map(_visible, folded))


def _visible(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
        return "\ufffd"
    return character if character.isprintable() else f"\\x{ord(character):02x}"

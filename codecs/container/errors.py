"""What reading an `.echo` file can raise; every message is one line."""

from echoic.audio.errors import one_line


class EchoFileError(ValueError):
    """A file that cannot be read as `.echo`: another format, damaged, or cut.

    The text is one line: what is wrong with the file, and what to do.

    Attributes:
        salvageable: whether segments of it may still be recovered.
    """

    def __init__(self, problem: str, mend: str, *, salvageable: bool = False) -> None:
        super().__init__(f"{one_line(problem)}; {one_line(mend)}")
        self.salvageable = salvageable


def damaged(problem: str) -> EchoFileError:
    """Return the error for damage behind an intact header."""
    return EchoFileError(
        problem, "copy it again, or recover what is intact with --salvage", salvageable=True
    )

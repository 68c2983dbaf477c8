"""What the transcriber needs of a model: something that reads windows of sound."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from echoic.asr.transcript import Segment
from echoic.asr.windows import Window


class Reading(NamedTuple):
    """What was found in a window.

    Attributes:
        segments: their times count from the window's beginning; their ids do not matter.
        rest: seconds from the window's beginning, from where on it is to be read once more; None
            where it was read to its end.
    """

    segments: tuple[Segment, ...]
    rest: float | None = None


class Reader(Protocol):
    """One model and one set of options.

    Attributes:
        language: code of what is spoken, None where only `identify` can tell.
        max_window_seconds: longest window that it reads.
    """

    language: str | None
    max_window_seconds: float

    def identify(self, window: Window) -> tuple[str, float] | None:
        """Return the code of what is spoken and how sure that is; None if it cannot be told."""
        ...

    def read(self, windows: Sequence[Window], languages: Sequence[str | None]) -> list[Reading]:
        """Read windows, each as if it were alone.

        Args:
            windows: at 16 kHz, from any recordings.
            languages: code of what is spoken in each, where it is known.
        """
        ...

"""When a generation must end: bounds from the text's length, and codes that go round in circles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Ending = Literal["end", "limit", "loop"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long speech may be.

    Attributes:
        shortest: seconds for each unit of text; the end is not drawn before.
        longest: seconds for each unit of text, at which speech is cut.
        least: seconds that any text may take.
        loop_seconds: of one pattern again and again, after which it is cut.
        loop_period: the longest such pattern, in seconds.
    """

    shortest: float = 0.02
    longest: float = 0.4
    least: float = 1.5
    loop_seconds: float = 3.0
    loop_period: float = 0.4

    def frames(self, units: int, frame_rate: float) -> tuple[int, int]:
        """Return the fewest and the most frames that a text of so many units may take."""
        fewest = int(self.shortest * units * frame_rate)
        most = int(max(self.least, self.longest * units) * frame_rate)
        return max(1, fewest), max(1, most)


def loops(codes: Sequence[int], bounds: Bounds, frame_rate: float) -> bool:
    """Return whether the last codes are one pattern over and over.

    Args:
        codes: of one book, the newest last.
        bounds: how long is too long.
        frame_rate: codes a second.
    """
    length = int(bounds.loop_seconds * frame_rate)
    if length < 2 or len(codes) < length:
        return False
    tail = list(codes[-length:])
    longest = max(1, int(bounds.loop_period * frame_rate))
    # What repeats after p codes is the same as itself, moved by p.
    return any(tail[p:] == tail[:-p] for p in range(1, min(longest, length // 2) + 1))

"""How the encoder's frames are cut into blocks, the unit in which a stream is heard."""

import math
from dataclasses import dataclass

from echoic.asr.whisper.model import FRAMES_PER_SECOND

SECONDS_PER_FRAME = 1 / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Blocks:
    """A cut of the encoder's frames (20 ms); attention is free inside a block, causal between.

    Attributes:
        size: frames of a block: 2 (40 ms) to 50 (1 s).
        first: frames of the first block; None for `size`.
        left_context: frames before its own block that a frame sees; None for all of the window.
    """

    size: int = 16
    first: int | None = None
    left_context: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("first", self.first)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value} frames of 20 ms: expected 1 or more")
        if self.left_context is not None and self.left_context < 0:
            raise ValueError(f"left_context is {self.left_context} frames: expected 0 or more")

    @classmethod
    def of_milliseconds(
        cls, size: float, *, first: float | None = None, left_context_seconds: float | None = None
    ) -> "Blocks":
        """Return blocks of about `size` milliseconds, in whole frames of 20 ms.

        Raises:
            ValueError: less than 20 ms or more than 30 s.
        """
        if not 20 <= size <= 30_000:
            raise ValueError(f"a chunk of {size:g} ms: expected 20 to 30000")
        left = None
        if left_context_seconds is not None and left_context_seconds < math.inf:
            left = round(left_context_seconds * FRAMES_PER_SECOND)
        return cls(round(size / 20), None if first is None else round(first / 20), left)

    @property
    def first_size(self) -> int:
        """Frames of the first block."""
        return self.size if self.first is None else self.first

    @property
    def seconds(self) -> float:
        """Length of a block."""
        return self.size * SECONDS_PER_FRAME

    def ends(self, frames: int) -> list[int]:
        """Return where the blocks of a signal end, the last one perhaps before it is full."""
        full = list(range(self.first_size, frames + 1, self.size))
        return full if full and full[-1] == frames else [*full, frames]

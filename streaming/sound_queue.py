"""Sound that waits to be heard: a queue of bounded length, in seconds."""

from collections import deque
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Policy = Literal["refuse", "drop_oldest"]

# Shorter sound is joined with what comes next: a tensor is much larger than its few samples.
_CRUMB_SECONDS = 0.01


class Chunk(NamedTuple):
    """Sound (C, T) at `rate` Hz."""

    wav: Tensor
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.wav.shape[1] / self.rate


class SoundQueue:
    """Takes sound in pieces of any length, and gives it out in larger ones.

    When it is full, `policy` decides:

    - "refuse": the sound is not taken; the caller knows and decides.
    - "drop_oldest": the older half of what waits is dropped, so that there is one gap, not many.

    Not for several threads at once.

    Attributes:
        max_seconds: of sound that may wait.
        policy: what happens beyond.
        seconds: of sound that waits.
        gap: seconds that were dropped before it.
        dropped: seconds that were dropped in all.
        refused: seconds that were not taken.
    """

    def __init__(self, max_seconds: float, policy: Policy) -> None:
        self.max_seconds = max_seconds
        self.policy: Policy = policy
        self.seconds = self.gap = self.dropped = self.refused = 0.0
        self._chunks: deque[Chunk] = deque()

    def __bool__(self) -> bool:
        """Whether sound waits."""
        return bool(self._chunks)

    def __len__(self) -> int:
        """How many pieces wait."""
        return len(self._chunks)

    def put(self, chunk: Chunk) -> bool:
        """Take sound, no longer than the queue; return whether it was taken."""
        if self.seconds + chunk.seconds > self.max_seconds:
            if self.policy == "refuse":
                self.refused += chunk.seconds
                return False
            self._drop(max(0.0, self.max_seconds / 2 - chunk.seconds))
        if chunk.seconds:
            self._append(chunk)
        return True

    def take(self, most_seconds: float) -> Chunk:
        """Give out the first sound of one rate and shape, up to so many seconds or one piece."""
        chunks = [self._chunks.popleft()]
        seconds = chunks[0].seconds
        while self._chunks and _fits(chunks[0], self._chunks[0]):
            if seconds + self._chunks[0].seconds > most_seconds:
                break
            chunks.append(self._chunks.popleft())
            seconds += chunks[-1].seconds
        self.seconds = max(0.0, self.seconds - seconds) if self._chunks else 0.0
        return Chunk(torch.cat([chunk.wav for chunk in chunks], dim=1), chunks[0].rate)

    def take_gap(self) -> float:
        """Return the seconds that were dropped before what waits, and forget them."""
        gap, self.gap = self.gap, 0.0
        return gap

    def clear(self) -> None:
        """Forget what waits."""
        self._chunks.clear()
        self.seconds = 0.0

    def _append(self, chunk: Chunk) -> None:
        self.seconds += chunk.seconds
        if self._chunks and self._chunks[-1].seconds < _CRUMB_SECONDS:
            last = self._chunks[-1]
            if _fits(last, chunk):
                self._chunks.pop()
                chunk = Chunk(torch.cat([last.wav, chunk.wav], dim=1), chunk.rate)
        self._chunks.append(chunk)

    def _drop(self, until: float) -> None:
        """Drop the oldest sound until no more than this many seconds wait."""
        while self._chunks and self.seconds > until:
            seconds = self._chunks.popleft().seconds
            self.seconds -= seconds
            self.dropped += seconds
            self.gap += seconds


def _fits(a: Chunk, b: Chunk) -> bool:
    return (a.rate, a.wav.shape[0], a.wav.dtype) == (b.rate, b.wav.shape[0], b.wav.dtype)

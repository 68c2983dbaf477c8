"""Times of works that take turns in one process, and their ratios."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch


class Turns(NamedTuple):
    """Seconds of every turn of one work."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all turns."""
        return statistics.median(self.seconds)

    def __add__(self, other: "Turns") -> "Turns":  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the seconds of both works of each turn, done one after the other."""
        return Turns(tuple(a + b for a, b in zip(self.seconds, other.seconds, strict=True)))

    def over(self, other: "Turns") -> tuple[str, str]:
        """Return the median of what a turn takes over the other's beside it, and the extremes."""
        ratios = [a / b for a, b in zip(self.seconds, other.seconds, strict=True)]
        return f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"


def take_turns(works: Sequence[Callable[[], object]], rounds: int) -> list[Turns]:
    """Run the first, the second ... and again, so many rounds; nothing is run before that.

    In one thread the processor's time counts, which other processes lengthen little; in several
    that on the wall.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, found in zip(works, seconds, strict=True):
            start = clock()
            work()
            found.append(clock() - start)
    return [Turns(tuple(found)) for found in seconds]

"""What a causal model should have said at the end of every block.

A token may be said at the first block that ends after it was heard (Krichli et al. 2025, section
3.2), and may still be mended for `hold_seconds`; then it is frozen, and its keys and values with
it. That is how the stream is decoded, so that training sees just what decoding will.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from echoic.asr.whisper.model import FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Timing:
    """When tokens are said.

    Attributes:
        delay_seconds: sound that must have been heard behind a token's end.
        hold_seconds: how long a token that was said may still be mended.
    """

    delay_seconds: float = 0.1
    hold_seconds: float = 0.6

    def __post_init__(self) -> None:
        for name in ("delay_seconds", "hold_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The life of each token of one window, in numbers of blocks.

    Attributes:
        block_ends: frame (20 ms) at which each block ends, rising; the last is the window's end.
        said: for every token that is said, in order, the block after which it first is.
        frozen: the block after which it is mended no more, at most the last.
    """

    block_ends: tuple[int, ...]
    said: tuple[int, ...]
    frozen: tuple[int, ...]

    def num_said(self, block: int) -> int:
        """Return how many tokens have been said after a block."""
        return sum(b <= block for b in self.said)

    def num_frozen_before(self, block: int) -> int:
        """Return how many tokens can be mended no more once a block is heard."""
        return sum(b < block for b in self.frozen)


def schedule(ends: Sequence[float], block_ends: Sequence[int], timing: Timing) -> Schedule:
    """Say when tokens with the given ends are said and frozen.

    Args:
        ends: seconds from the window's start, never falling.
        block_ends: see `Schedule`.
        timing: of the tokens.

    Returns:
        The schedule of the tokens that are heard inside the window; later ones are left out.
    """
    said: list[int] = []
    frozen: list[int] = []
    last = len(block_ends) - 1
    for end in ends:
        block = bisect_left(block_ends, (end + timing.delay_seconds) * FRAMES_PER_SECOND)
        if block > last:
            break
        block = max(block, said[-1] if said else 0)
        over = block_ends[block] + timing.hold_seconds * FRAMES_PER_SECOND
        said.append(block)
        frozen.append(min(last, bisect_left(block_ends, over)))
    return Schedule(tuple(block_ends), tuple(said), tuple(frozen))

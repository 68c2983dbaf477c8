"""Tokens of a live transcription with what is known of each."""

from typing import NamedTuple

import torch
from torch import Tensor


class Track(NamedTuple):
    """Tokens in order; all tensors are (1, n). Times are seconds of the utterance.

    Attributes:
        tokens: int64 ids.
        probabilities: float32, of each when it was last looked at.
        said: float64, the end of the block after which each was first said.
        begins: float64, where the sound of each begins.
        ends: float64, where it ends.
    """

    tokens: Tensor
    probabilities: Tensor
    said: Tensor
    begins: Tensor
    ends: Tensor

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.tokens.shape[1]

    @property
    def ids(self) -> list[int]:
        """The tokens as a list."""
        return self.tokens[0].tolist()

    def slice(self, start: int, end: int | None = None) -> "Track":
        """Return a part, in memory of its own."""
        return Track(*(t[:, start:end].clone() for t in self))

    def join(self, other: "Track") -> "Track":
        """Return these tokens and others behind them."""
        return Track(*(torch.cat(pair, dim=1) for pair in zip(self, other, strict=True)))


def track(
    tokens: list[int],
    probabilities: list[float],
    said: list[float],
    begins: list[float],
    ends: list[float],
) -> Track:
    """Make a track of lists of one length."""
    return Track(
        torch.tensor([tokens], dtype=torch.int64),
        torch.tensor([probabilities], dtype=torch.float32),
        torch.tensor([said], dtype=torch.float64),
        torch.tensor([begins], dtype=torch.float64),
        torch.tensor([ends], dtype=torch.float64),
    )


def no_track() -> Track:
    """Return a track without tokens."""
    return track([], [], [], [], [])

"""Frames of codes: what speech is to a language model, integers from end to end."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """What the numbers of a frame mean.

    Attributes:
        num_codebooks: Q, codes of a frame.
        codebook_size: K, values of each code.
        frame_rate: frames a second.
        num_groups: codes that stand side by side, not one behind the other: the groups of a
            group-residual quantizer share a depth.
        codec: name or folder of the codec whose codes they are; "" where nobody needs to know.

    Raises:
        ValueError: numbers that no codec has.
    """

    num_codebooks: int
    codebook_size: int
    frame_rate: float
    num_groups: int = 1
    codec: str = ""

    def __post_init__(self) -> None:
        if self.num_codebooks < 1 or self.codebook_size < 2 or not self.frame_rate > 0:
            raise ValueError(
                f"frames of {self.num_codebooks} codes of {self.codebook_size} values, "
                f"{self.frame_rate} a second: expected 1, 2 and more than 0 at least"
            )
        if self.num_groups < 1 or self.num_codebooks % self.num_groups:
            raise ValueError(
                f"{self.num_codebooks} codes do not make whole layers of {self.num_groups} groups"
            )

    @property
    def depths(self) -> tuple[int, ...]:
        """The residual layer of each code, from 0."""
        return tuple(q // self.num_groups for q in range(self.num_codebooks))

    def check(self, frames: Tensor) -> None:
        """Raise ValueError unless these are frames (T, Q) int64 of this format."""
        if frames.dtype != torch.int64 or frames.dim() != 2:
            raise ValueError(
                f"frames must be int64 (T, Q): got {frames.dtype} {tuple(frames.shape)}"
            )
        if frames.shape[1] != self.num_codebooks:
            raise ValueError(f"frames of {frames.shape[1]} codes, expected {self.num_codebooks}")
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < self.codebook_size:
            raise ValueError(
                f"codes from {int(frames.min())} to {int(frames.max())}, expected 0 to "
                f"{self.codebook_size - 1}"
            )

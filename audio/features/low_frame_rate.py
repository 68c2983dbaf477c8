"""Stacking frames to a lower rate, and normalising them with stored statistics (FunASR)."""

import os
import re
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from echoic.audio.features.framing import Framing, FramingState


class LowFrameRate(nn.Module):
    """Stacks `m` frames every `n`: features (B, T, F) become (B, ceil(T / n), m * F).

    Output i holds frames n * i - (m - 1) // 2 and the m - 1 after it; the first and the last frame
    stand in for those outside the signal.

    Args:
        m: frames in a stack.
        n: frames between two stacks, at most `m`.
        num_features: F.

    Raises:
        ValueError: when n is not 1 to m.
    """

    def __init__(self, m: int = 7, n: int = 6, num_features: int = 80) -> None:
        super().__init__()
        left = (m - 1) // 2
        self.framing = Framing(m, n, left, m - 1 - left, "replicate")
        self.num_features = num_features
        self.frame_size = n
        self.lookahead = self.framing.lookahead

    def forward(self, x: Tensor) -> Tensor:
        """Stack whole features (B, T, F)."""
        return self._stack(self.framing.frames(self._checked(x)))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> FramingState:
        """Return the state before the first frame."""
        held = torch.empty(batch_size, 0, self.num_features, device=device, dtype=dtype)
        return self.framing.initial_state(held)

    def step(self, state: FramingState, x: Tensor) -> tuple[FramingState, Tensor]:
        """Take frames (B, T, F), T >= 0, and return the stacks that are complete."""
        state, frames = self.framing.step(state, self._checked(x))
        return state, self._stack(frames)

    def finish(self, state: FramingState) -> tuple[FramingState, Tensor]:
        """Return the stacks that the last frame completes, and a fresh state."""
        state, frames = self.framing.finish(state)
        return state, self._stack(frames)

    def _checked(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or x.shape[2] != self.num_features:
            raise ValueError(
                f"features have shape {tuple(x.shape)}, expected (batch, frames, "
                f"{self.num_features}): give LowFrameRate the num_features of what comes before it"
            )
        return x

    def _stack(self, frames: Tensor) -> Tensor:
        # (B, T, F, m) -> (B, T, m * F); explicit sizes because an empty tensor allows no -1
        return frames.transpose(2, 3).reshape(*frames.shape[:2], frames.shape[2] * frames.shape[3])


class Cmvn(nn.Module):
    """Normalises features with stored statistics: (x + shift) * scale, of each frame alone.

    Args:
        shift: (F,), minus the means.
        scale: (F,), one over the standard deviations.

    Raises:
        ValueError: when the two are not vectors of one length.
    """

    frame_size = 1
    lookahead = 0
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        if shift.dim() != 1 or shift.shape != scale.shape:
            raise ValueError(
                f"shift and scale have shapes {tuple(shift.shape)} and {tuple(scale.shape)}, "
                "expected two vectors of one length: one value per feature"
            )
        self.register_buffer("shift", shift.float(), persistent=False)
        self.register_buffer("scale", scale.float(), persistent=False)

    @classmethod
    def from_kaldi(cls, path: str | os.PathLike[str]) -> Self:
        """Read an `am.mvn`: the text of a Kaldi network of <AddShift> and <Rescale>.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it lacks one of the two.
        """
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return cls(*(_vector(text, tag, path) for tag in ("AddShift", "Rescale")))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise features (B, T, F)."""
        return (x + self.shift) * self.scale

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return the state, (B, 0, F): nothing but the shape of the output."""
        return torch.empty(batch_size, 0, len(self.shift), device=device, dtype=dtype)

    def step(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise features (B, T, F)."""
        return state, self(x)

    def finish(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return no more frames: nothing was held back."""
        return state, self(state)


def _vector(text: str, tag: str, path: str | os.PathLike[str]) -> Tensor:
    found = re.search(rf"<{tag}>\s+(\d+)\s+\d+\s*<LearnRateCoef>\s+\S+\s+\[([^\]]*)\]", text)
    values = [float(word) for word in found[2].split()] if found else []
    if found is None or len(values) != int(found[1]):
        raise ValueError(
            f"{path} has {len(values)} values of <{tag}>, expected {found[1] if found else 'some'}:"
            " give the am.mvn that comes with the model"
        )
    return torch.tensor(values)

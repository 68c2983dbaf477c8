"""Cutting a signal into overlapping frames, whole or chunk by chunk with the same result.

Every feature of this package is a `Framing` followed by a function of each frame alone, so the
streaming contract is implemented here once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

PadMode = Literal["reflect", "symmetric", "replicate", "zeros"]


class FramingState(NamedTuple):
    """What a stream of frames remembers.

    Attributes:
        held: (B, n, ...) samples from the start of the next frame on; n < frame length + padding.
        started: whether the padding before the first sample has been made.
    """

    held: Tensor
    started: bool


@dataclass(frozen=True, slots=True)
class Framing:
    """Frames of `length` every `hop`, of a signal padded by `left` and `right` along dimension 1.

    Frame j covers samples [j * hop - left, j * hop - left + length) and there are
    (n + left + right - length) // hop + 1 of them, none when that is negative.

    Attributes:
        length: samples in a frame.
        hop: samples between the starts of two frames, at most `length`.
        left: samples of padding before the signal, less than `length`.
        right: samples of padding after it, less than `length`.
        mode: "reflect" mirrors without repeating the edge and bounces to and fro when the signal is
            shorter than the padding (as `numpy.pad`), "symmetric" repeats the edge, "replicate"
            holds the edge, "zeros" adds silence.
        first_unused: frames are weighted by a window that starts with 0, so a stream need not wait
            for the one sample that only this weight would see.
    """

    length: int
    hop: int
    left: int = 0
    right: int = 0
    mode: PadMode = "reflect"
    first_unused: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.hop <= self.length:
            raise ValueError(
                f"hop is {self.hop}, expected 1 to {self.length} (the frame length): "
                "choose a hop that leaves no gap between frames"
            )
        if not (0 <= self.left < self.length and 0 <= self.right < self.length):
            raise ValueError(
                f"padding is ({self.left}, {self.right}), expected 0 to {self.length - 1} on each "
                "side: pad by less than a frame"
            )

    @property
    def lookahead(self) -> int:
        """Samples that frame j needs beyond the end of its own hop, (j + 1) * hop."""
        return max(0, self.length - self.left - self.hop, self._needed_to_start - self.hop)

    @property
    def _needed_to_start(self) -> int:
        edge = {"reflect": self.left + (not self.first_unused), "symmetric": self.left}
        seen = edge.get(self.mode, 1) if self.left else 0
        return max(self.length - self.left, seen)

    @property
    def _memory(self) -> int:
        """Samples kept before the next frame, for the mirror at the end of the signal."""
        reach = {"reflect": self.right + 1, "symmetric": self.right, "replicate": 1}
        seen = reach.get(self.mode, 0) if self.right else 0
        return max(0, seen - (self.length - self.hop))

    def count(self, samples: int) -> int:
        """Return how many frames a whole signal of `samples` has."""
        return max(0, (samples + self.left + self.right - self.length) // self.hop + 1)

    def frames(self, x: Tensor) -> Tensor:
        """Cut a whole signal (B, n, ...) into frames (B, T, ..., length), a view where possible."""
        if self.count(x.shape[1]) == 0 or x.shape[1] == 0:
            return self._cut(x[:, :0], 0)
        return self._cut(pad(x, self.left, self.right, self.mode), 0)

    def initial_state(self, like: Tensor) -> FramingState:
        """Return the state before the first sample; `like` (B, 0, ...) tells shape and type."""
        return FramingState(like, False)

    def step(self, state: FramingState, x: Tensor) -> tuple[FramingState, Tensor]:
        """Take samples (B, n, ...) and return the frames (B, T, ..., length) that are complete."""
        held, started = torch.cat([state.held, x], dim=1), state.started
        if not started and held.shape[1] >= self._needed_to_start:
            held, started = self._start(held), True
        if not started:
            return FramingState(held, False), self._cut(held[:, :0], 0)
        frames = self._cut(held, self._memory)
        # A copy, so that a small state does not keep a large chunk alive.
        rest = held[:, frames.shape[1] * self.hop :].clone()
        return FramingState(rest, True), frames

    def finish(self, state: FramingState) -> tuple[FramingState, Tensor]:
        """Return the frames that reach into the padding at the end, and a fresh state."""
        fresh = self.initial_state(state.held[:, :0])
        if not state.started:
            return fresh, self.frames(state.held)
        return fresh, self._cut(pad(state.held, 0, self.right, self.mode), self._memory)

    def _start(self, held: Tensor) -> Tensor:
        if held.shape[1] == self.left and self.mode == "reflect":
            held_and_one = torch.cat([held, torch.zeros_like(held[:, :1])], dim=1)
            padding = pad(held_and_one, self.left, 0, "reflect")[:, : self.left]
        else:
            padding = pad(held, self.left, 0, self.mode)[:, : self.left]
        unused = torch.zeros_like(held[:, :1]).expand(-1, self._memory, *held.shape[2:])
        return torch.cat([unused, padding, held], dim=1)

    def _cut(self, x: Tensor, start: int) -> Tensor:
        if x.shape[1] - start < self.length:
            return x.new_empty(x.shape[0], 0, *x.shape[2:], self.length)
        return x[:, start:].unfold(1, self.length, self.hop)


def pad(x: Tensor, left: int, right: int, mode: PadMode) -> Tensor:
    """Pad (B, n, ...) with n >= 1 along dimension 1; see `Framing` for the modes."""
    if left == right == 0:
        return x
    if mode == "zeros":
        return torch.cat([_zeros(x, left), x, _zeros(x, right)], dim=1)
    before = _mirror(torch.arange(-left, 0, device=x.device), x.shape[1], mode)
    after = _mirror(torch.arange(right, device=x.device) + x.shape[1], x.shape[1], mode)
    return torch.cat([x.index_select(1, before), x, x.index_select(1, after)], dim=1)


def _zeros(x: Tensor, samples: int) -> Tensor:
    return x.new_zeros(x.shape[0], samples, *x.shape[2:])


def _mirror(index: Tensor, samples: int, mode: PadMode) -> Tensor:
    """Map positions outside [0, samples) to the positions whose value they repeat."""
    if mode == "replicate" or samples == 1:
        return index.clamp(0, samples - 1)
    edge = int(mode == "symmetric")
    period = 2 * (samples - 1 + edge)
    index = index.remainder(period)
    return torch.where(index < samples, index, period - edge - index)


class FrameFeatures(nn.Module):
    """Base of features that are a function of each frame alone; streamed by its `Framing`."""

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self.framing = framing

    @property
    def frame_size(self) -> int:
        """Input samples per output frame."""
        return self.framing.hop

    @property
    def lookahead(self) -> int:
        """Input samples needed beyond the end of an output frame's own hop."""
        return self.framing.lookahead

    def features(self, frames: Tensor) -> Tensor:
        """Turn frames (B, T, ..., length) into features (B, T, F)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Turn a whole signal (B, n) into features (B, T, F)."""
        check_batch(x, self.framing)
        return self.features(self.framing.frames(x))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> FramingState:
        """Return the state before the first sample."""
        return self.framing.initial_state(torch.empty(batch_size, 0, device=device, dtype=dtype))

    def step(self, state: FramingState, x: Tensor) -> tuple[FramingState, Tensor]:
        """Take samples (B, n), n >= 0, and return the features that are complete."""
        check_batch(x, self.framing)
        return apply_second(self.features, self.framing.step(state, x))

    def finish(self, state: FramingState) -> tuple[FramingState, Tensor]:
        """Return the features that waited for samples that never came, and a fresh state."""
        return apply_second(self.features, self.framing.finish(state))


def apply_second(
    function: Callable[[Tensor], Tensor], pair: tuple[FramingState, Tensor]
) -> tuple[FramingState, Tensor]:
    """Apply `function` to the output of a step and leave the state as it is."""
    return pair[0], function(pair[1])


def check_batch(x: Tensor, framing: Framing) -> None:
    """Raise when `x` is not a batch of floating-point waveforms (B, n)."""
    if x.dim() != 2 or not x.is_floating_point():
        raise ValueError(
            f"input is {x.dtype} of shape {tuple(x.shape)}, expected floating-point samples of "
            f"shape (batch, samples) to cut every {framing.hop}: add a batch dimension with "
            "wav[None] or convert integers to [-1, 1]"
        )

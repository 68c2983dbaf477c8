"""Overlap-add of frames, whole or streamed: what windowed decoders and inverse transforms end with.

For spectra there is `echoic.audio.features.stft.Istft`, which transforms and adds in one.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.streaming.layers.checks import check_input

Normalize = Literal["none", "window", "power"]

# Below this the overlapping windows carry no signal; torch.istft has the same limit.
_SILENT_ENVELOPE = 1e-11


class OverlapAddState(NamedTuple):
    """What a streamed overlap-add remembers.

    Attributes:
        tail: (B, length - hop) sum of the windowed frames so far, past the last output.
        envelope: (B, length - hop) sum of the weights there; None when nothing is divided.
        trim: samples at the start that are still to be dropped.
        heard: whether a frame has arrived, or does not matter: all that is held will be trimmed.
    """

    tail: Tensor
    envelope: Tensor | None
    trim: int
    heard: bool


class OverlapAdd(nn.Module):
    """Waveforms (B, n) from overlapping frames (B, T, length), `hop` samples apart.

    Frame k is weighted by the window and added to samples [k * hop, k * hop + length); of these
    (T - 1) * hop + length samples `trim` are cut off the two ends. Trimming the left makes the
    stream wait: the look-ahead is ceil(left / hop) frames.

    Args:
        length: samples in a frame.
        hop: samples between two frames, at most `length`.
        window: (length,) weights of a frame's samples; None for ones.
        trim: (left, right) samples; (0, length - hop) gives T * hop samples without look-ahead.
        normalize: "none"; "window" divides by the sum of the overlapping windows, so that equal
            frames add up to themselves; "power" by the sum of their squares, when the frames have
            been windowed before (Griffin and Lim 1984, equation 6). Where no window reaches, the
            output is 0.

    Raises:
        ValueError: for sizes that do not fit each other.
    """

    input_time_dim = 1
    output_time_dim = 1
    frame_size = 1
    window: Tensor

    def __init__(
        self,
        length: int,
        hop: int,
        *,
        window: Tensor | None = None,
        trim: tuple[int, int] = (0, 0),
        normalize: Normalize = "none",
    ) -> None:
        super().__init__()
        overlap = length - hop
        if hop < 1 or overlap < 0:
            raise ValueError(f"hop is {hop}, expected 1 to {length} (the frame's length)")
        if not (0 <= trim[0] <= overlap and 0 <= trim[1] <= overlap):
            raise ValueError(f"trim is {trim}, expected 0 to {overlap}, the length less the hop")
        window = torch.ones(length) if window is None else window
        if tuple(window.shape) != (length,):
            raise ValueError(f"window has shape {tuple(window.shape)}, expected ({length},)")
        if normalize not in ("none", "window", "power"):
            raise ValueError(f"normalize is {normalize!r}, expected none, window or power")
        self.length, self.overlap = length, overlap
        self.left, self.right = trim
        self.output_size = hop
        self.lookahead = -(-self.left // hop)
        self.normalize: Normalize = normalize
        self.register_buffer("window", window, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add up all frames (B, T, length) of a signal."""
        state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        state, body = self.step(state, x)
        return torch.cat([body, self.finish(state)[1]], dim=1)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> OverlapAddState:
        """Return the state before the first frame."""
        zeros = torch.zeros(batch_size, self.overlap, device=device, dtype=dtype)
        envelope = None if self.normalize == "none" else zeros
        return OverlapAddState(zeros, envelope, self.left, heard=self.right == self.overlap)

    def step(self, state: OverlapAddState, x: Tensor) -> tuple[OverlapAddState, Tensor]:
        """Take frames (B, T, length), T >= 0, and return the samples that are complete."""
        check_input(x, self.length, time_dim=1)
        if x.shape[1] == 0:
            return state, state.tail[:, :0]
        done = x.shape[1] * self.output_size
        trim = min(state.trim, done)
        # Copies, so that a small state does not keep a large chunk alive.
        total = self._add(x * self.window, state.tail)
        y, tail, envelope = total[:, trim:done], total[:, done:].clone(), None
        if state.envelope is not None:
            weights = self._weights().expand(1, x.shape[1], -1)
            sums = self._add(weights, state.envelope)
            y, envelope = _divide(y, sums[:, trim:done]), sums[:, done:].clone()
        return OverlapAddState(tail, envelope, state.trim - trim, True), y

    def finish(self, state: OverlapAddState) -> tuple[OverlapAddState, Tensor]:
        """Return the samples under the last frames, and a fresh state."""
        tail = state.tail
        fresh = self.initial_state(tail.shape[0], device=tail.device, dtype=tail.dtype)
        if not state.heard:
            return fresh, tail[:, :0]
        kept = slice(state.trim, max(state.trim, self.overlap - self.right))
        if state.envelope is None:
            return fresh, tail[:, kept]
        return fresh, _divide(tail[:, kept], state.envelope[:, kept])

    def _weights(self) -> Tensor:
        return self.window if self.normalize == "window" else self.window.square()

    def _add(self, frames: Tensor, tail: Tensor) -> Tensor:
        total = (frames.shape[1] - 1) * self.output_size + self.length
        added = F.fold(
            frames.transpose(1, 2),
            output_size=(1, total),
            kernel_size=(1, self.length),
            stride=(1, self.output_size),
        ).flatten(1)
        return added + F.pad(tail, (0, total - tail.shape[1]))


def _divide(total: Tensor, envelope: Tensor) -> Tensor:
    heard = envelope > _SILENT_ENVELOPE
    return torch.where(heard, total, 0.0) / torch.where(heard, envelope, 1.0)

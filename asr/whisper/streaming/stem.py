"""Whisper's two convolutions on a stream: each frame computed once, exactly as on the whole."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.encoder import Encoder

# Encoder frame k hears mel frames 2k - 2 to 2k + 2: one more than its own two, 10 ms ahead.
LOOKAHEAD = 1
_BEHIND = 2


class StemState(NamedTuple):
    """The end of the mel frames heard so far.

    Attributes:
        held: (B, n, num_mel_bins), from two frames before the next block on.
        begun: whether a block has been computed.
    """

    held: Tensor
    begun: bool


def start_stem(batch_size: int, num_mels: int, device: torch.device | str | None) -> StemState:
    """Return the state before the first mel frame."""
    return StemState(torch.empty(batch_size, 0, num_mels, device=device), False)


def hear(state: StemState, mel: Tensor) -> StemState:
    """Return the state with more mel frames (B, F, num_mel_bins) behind it."""
    return StemState(torch.cat([state.held, mel.float()], dim=1), state.begun)


def ready(state: StemState) -> int:
    """Return how many encoder frames can be computed before the stream ends."""
    behind = _BEHIND if state.begun else 0
    return max(0, (state.held.shape[1] - behind - LOOKAHEAD) // 2)


def remaining(state: StemState) -> int:
    """Return how many encoder frames there are when the stream ends here."""
    behind = _BEHIND if state.begun else 0
    return max(0, (state.held.shape[1] - behind + 1) // 2)


def convolve(
    state: StemState, encoder: Encoder, frames: int, *, last: bool = False
) -> tuple[StemState, Tensor]:
    """Compute the next encoder frames.

    Args:
        state: with enough mel frames, see `ready` and `remaining`.
        encoder: whose convolutions to use.
        frames: encoder frames of 20 ms, 1 or more.
        last: whether the stream ends with them.

    Returns:
        The state behind them, and (B, frames, C) without positions.
    """
    behind = _BEHIND if state.begun else 0
    held = state.held
    x = held if last else held[:, : behind + 2 * frames + LOOKAHEAD]
    x = x.to(encoder.dtype).transpose(1, 2)
    # Outside the signal a convolution sees zeros, its own, not those of the other one.
    x = functional.pad(x, (0 if state.begun else 1, 1 if last else 0))
    x = functional.gelu(functional.conv1d(x, encoder.conv1.weight, encoder.conv1.bias))
    odd = last and (held.shape[1] - behind) % 2 == 1
    x = functional.pad(x, (0 if state.begun else 1, 1 if odd else 0))
    x = functional.gelu(functional.conv1d(x, encoder.conv2.weight, encoder.conv2.bias, stride=2))
    kept = held[:, max(0, behind + 2 * frames - _BEHIND) :].clone()
    return StemState(kept, True), x[:, :, :frames].transpose(1, 2)

"""How loud sound is, and changes of it: gain and clipping."""

from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.augment.draw import Range, check_probability, check_range, uniform

_FRAME_SECONDS = 0.02
_ACTIVE_DB = 30.0


def active_power(wav: Tensor, sample_rate: int) -> float:
    """Measure the mean power of the loud parts, so that pauses do not count.

    Frames of 20 ms within 30 dB of the loudest one are averaged: the idea of the active speech
    level of ITU-T P.56, in its simplest form.

    Args:
        wav: (T,) or (C, T) samples.
        sample_rate: in Hz.

    Returns:
        Mean of the squared samples; 0 for silence or no samples.
    """
    length = max(1, round(_FRAME_SECONDS * sample_rate))
    squares = wav.square() if wav.dim() == 1 else wav.square().mean(dim=0)
    whole = squares[: squares.shape[0] // length * length]
    frames = whole.reshape(-1, length).mean(dim=1) if len(whole) else squares.mean().reshape(1)
    loudest = frames.max()
    if not loudest > 0:  # silence, and the mean of nothing
        return 0.0
    return float(frames[frames >= loudest * 10 ** (-_ACTIVE_DB / 10)].mean())


def change_gain(wav: Tensor, gain_db: float) -> Tensor:
    """Make sound louder or softer, but never so loud that its peak leaves [-1, 1].

    Args:
        wav: (T,) or (C, T) float32.
        gain_db: decibels; a positive one is lowered to what the peak leaves room for.
    """
    factor = 10 ** (gain_db / 20)
    return wav * min(factor, max(1.0, 1 / _peak(wav))) if factor > 1 else wav * factor


def clip(wav: Tensor, below_peak_db: float) -> Tensor:
    """Cut the peaks off, as an overdriven microphone does.

    Args:
        wav: (T,) or (C, T) float32.
        below_peak_db: how far below the highest peak everything is cut, >= 0.
    """
    limit = _peak(wav) * 10 ** (-below_peak_db / 20)
    return wav.clamp(-limit, limit)


def _peak(wav: Tensor) -> float:
    return max(1e-9, float(wav.abs().max())) if wav.numel() else 1.0


@dataclass(frozen=True, slots=True)
class Gain:
    """Random loudness.

    Attributes:
        gain_db: (least, most) decibels; what would leave [-1, 1] is limited.
        probability: of being applied.
    """

    gain_db: Range = (-20.0, 6.0)
    probability: float = 0.8

    def __post_init__(self) -> None:
        check_range("gain_db", self.gain_db, -80, 80)
        check_probability(self.probability)

    def __call__(self, wav: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Return (T,) or (C, T) sound made louder or softer by a drawn gain."""
        del sample_rate
        return change_gain(wav, uniform(generator, self.gain_db))


@dataclass(frozen=True, slots=True)
class Clipping:
    """Random overdrive.

    Attributes:
        below_peak_db: (least, most) decibels of the peaks that are cut off.
        probability: of being applied.
    """

    below_peak_db: Range = (1.0, 10.0)
    probability: float = 0.05

    def __post_init__(self) -> None:
        check_range("below_peak_db", self.below_peak_db, 0, 60)
        check_probability(self.probability)

    def __call__(self, wav: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Return (T,) or (C, T) sound with its peaks cut off at a drawn level."""
        del sample_rate
        return clip(wav, uniform(generator, self.below_peak_db))

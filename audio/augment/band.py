"""Narrow bands: sound that has been through a lower sample rate or a telephone."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from echoic.audio.augment.draw import Range, check_probability, check_range, choose, uniform
from echoic.audio.augment.fourier import shape_spectrum
from echoic.audio.resample import Resampler


@lru_cache(maxsize=128)
def resampler(from_rate: int, to_rate: int) -> Resampler:
    """Return the one resampler for two rates in Hz; making one takes milliseconds."""
    return Resampler(from_rate, to_rate)


def limit_band(wav: Tensor, sample_rate: int, rate: int) -> Tensor:
    """Resample down and up again, so that what is above half the lower rate is lost.

    Args:
        wav: (T,) or (C, T) float32.
        sample_rate: of `wav`, in Hz.
        rate: the lower rate in Hz; one that is not lower changes nothing.

    Returns:
        Sound of the same shape and rate.
    """
    if rate >= sample_rate:
        return wav
    return back(resampler(sample_rate, rate)(wav), rate, sample_rate, wav.shape[-1])


def back(wav: Tensor, rate: int, sample_rate: int, length: int) -> Tensor:
    """Resample (..., N) from `rate` to `sample_rate` and to exactly `length` samples."""
    wide = resampler(rate, sample_rate)(wav)
    return torch.nn.functional.pad(wide, (0, length - wide.shape[-1]))


def cut_lows(wav: Tensor, sample_rate: int, cutoff: float) -> Tensor:
    """Weaken low frequencies as a Butterworth high-pass of second order does, without delay.

    Args:
        wav: (T,) or (C, T) float32.
        sample_rate: in Hz.
        cutoff: Hz at which 3 dB are lost; 0 changes nothing.
    """
    if cutoff <= 0:
        return wav
    return shape_spectrum(
        wav,
        sample_rate,
        lambda f: (1 + (cutoff / f.clamp(min=1e-3)) ** 4).rsqrt(),
        padding=sample_rate // 10,
    )


@dataclass(frozen=True, slots=True)
class Band:
    """A random narrow band.

    Attributes:
        rates: Hz of the lower sample rates, one of them drawn; 8000 is the telephone's.
        cutoff: (least, most) Hz below which is cut off; a telephone's is about 300.
        probability: of being applied.
    """

    rates: tuple[int, ...] = (8000, 8000, 11025)
    cutoff: Range = (0.0, 300.0)
    probability: float = 0.2

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 1000:
            raise ValueError(f"rates are {self.rates}; give sample rates of 1000 Hz or more")
        check_range("cutoff", self.cutoff, 0, 4000)
        check_probability(self.probability)

    def __call__(self, wav: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Return (T,) or (C, T) sound in a drawn band, at its own rate and length."""
        rate, cutoff = choose(generator, self.rates), uniform(generator, self.cutoff)
        return cut_lows(limit_band(wav, sample_rate, rate), sample_rate, cutoff)

"""Speed, pitch along with it, as of a tape that runs too fast."""

from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.augment.band import resampler
from echoic.audio.augment.draw import Range, check_probability, check_range, uniform


def change_speed(wav: Tensor, sample_rate: int, factor: float) -> tuple[Tensor, float]:
    """Play sound faster or slower by resampling (Ko et al. 2015, *Audio Augmentation*).

    Args:
        wav: (T,) or (C, T) float32.
        sample_rate: in Hz.
        factor: 1.1 is a tenth faster and higher; rounded to whole per cents, so that few resampling
            filters serve all.

    Returns:
        The sound, about T / factor samples long, and the factor that was used: what was at t
        seconds is now at t / factor.
    """
    rate = round(sample_rate * round(factor, 2))
    return resampler(rate, sample_rate)(wav), rate / sample_rate


@dataclass(frozen=True, slots=True)
class Speed:
    """Random speed.

    Attributes:
        factor: (slowest, fastest), 1 being the speed as recorded.
        probability: of being applied.
    """

    factor: Range = (0.9, 1.1)
    probability: float = 0.7

    def __post_init__(self) -> None:
        check_range("factor", self.factor, 0.25, 4)
        check_probability(self.probability)

    def __call__(
        self, wav: Tensor, sample_rate: int, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        """Return (T',) or (C, T') sound at a drawn speed, and the factor."""
        return change_speed(wav, sample_rate, uniform(generator, self.factor))

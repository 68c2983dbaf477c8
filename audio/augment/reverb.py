"""Reverberation by synthetic rooms."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.augment.draw import Range, check_probability, check_range, uniform
from echoic.audio.augment.fourier import convolve
from echoic.audio.augment.level import active_power

_DECAY = math.log(1000.0)  # amplitude falls to 1/1000, 60 dB, in one reverberation time


def room_response(
    sample_rate: int,
    *,
    rt60: float,
    direct_db: float,
    delay: float,
    generator: torch.Generator,
) -> Tensor:
    """Draw the impulse response of a room: the direct sound, then decaying noise.

    Polack's model of late reverberation (1988): Gaussian noise under an exponential envelope.

    Args:
        sample_rate: in Hz.
        rt60: seconds in which reverberation falls by 60 dB.
        direct_db: energy of the direct sound over that of all reflections, in decibels.
        delay: seconds from the direct sound to the first reflection.
        generator: of the noise.

    Returns:
        (N,) response of about `delay + rt60` seconds; its first sample is the direct sound, 1.
    """
    wait = max(1, round(delay * sample_rate))
    times = torch.arange(max(1, round(rt60 * sample_rate))) / sample_rate
    tail = torch.randn(len(times), generator=generator) * torch.exp(-_DECAY / rt60 * times)
    tail *= 10 ** (-direct_db / 20) / tail.norm().clamp(min=1e-9)
    response = torch.zeros(wait + len(tail))
    response[0] = 1.0
    response[wait:] = tail
    return response


def reverberate(wav: Tensor, response: Tensor, sample_rate: int) -> Tensor:
    """Put sound into a room, at the level it had.

    Args:
        wav: (T,) or (C, T) float32.
        response: (N,) from `room_response`, or a recorded one that begins with the direct sound.
        sample_rate: in Hz.

    Returns:
        Sound of the same shape, not shifted in time; what rings on after the end is cut.
    """
    wet = convolve(wav, response.to(wav))
    before, after = active_power(wav, sample_rate), active_power(wet, sample_rate)
    return wet * math.sqrt(before / after) if before > 0 and after > 0 else wet


@dataclass(frozen=True, slots=True)
class Reverb:
    """A random room.

    Attributes:
        rt60: (least, most) reverberation time in seconds.
        direct_db: (least, most) decibels of the direct sound over the reflections: near the
            microphone, and far from it.
        delay: (least, most) seconds before the first reflection.
        probability: of being applied.
    """

    rt60: Range = (0.1, 0.6)
    direct_db: Range = (-3.0, 12.0)
    delay: Range = (0.001, 0.015)
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("rt60", self.rt60, 0.01, 10)
        check_range("direct_db", self.direct_db, -40, 60)
        check_range("delay", self.delay, 0, 1)
        check_probability(self.probability)

    def __call__(self, wav: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Return (T,) or (C, T) sound in a drawn room."""
        response = room_response(
            sample_rate,
            rt60=uniform(generator, self.rt60),
            direct_db=uniform(generator, self.direct_db),
            delay=uniform(generator, self.delay),
            generator=generator,
        )
        return reverberate(wav, response, sample_rate)

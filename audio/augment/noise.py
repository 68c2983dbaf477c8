"""Additive noise: white, pink, other people's talk, or recordings of any kind."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from echoic.audio.augment.draw import Range, check_probability, check_range, choose, uniform
from echoic.audio.augment.fourier import shape_spectrum
from echoic.audio.augment.level import active_power
from echoic.audio.io import AUDIO_SUFFIXES, info, load

NoiseKind = Literal["white", "pink", "babble", "recorded"]
_LOWEST_HZ = 20.0


def white_noise(length: int, generator: torch.Generator) -> Tensor:
    """Draw (length,) noise of power 1, the same at all frequencies."""
    return torch.randn(length, generator=generator)


def pink_noise(length: int, sample_rate: int, generator: torch.Generator) -> Tensor:
    """Draw (length,) noise of about power 1 whose power falls as 1 / frequency, from 20 Hz on."""
    pink = shape_spectrum(
        white_noise(length, generator), sample_rate, lambda f: f.clamp(min=_LOWEST_HZ).rsqrt()
    )
    return pink / pink.square().mean().sqrt().clamp(min=1e-9)


def add_noise(wav: Tensor, noise: Tensor, snr_db: float, sample_rate: int) -> Tensor:
    """Add noise at a signal-to-noise ratio.

    Args:
        wav: (T,) or (C, T) speech; its level is that of its loud parts (`active_power`).
        noise: (T,), added to every channel; its level is its mean power.
        snr_db: decibels by which the speech is louder.
        sample_rate: in Hz.

    Returns:
        The sum, shaped as `wav`; `wav` itself where either is silent.
    """
    speech, power = active_power(wav, sample_rate), float(noise.square().mean())
    if not (speech > 0 and power > 0):
        return wav
    return wav + noise * math.sqrt(speech / power / 10 ** (snr_db / 10))


@lru_cache(maxsize=16)
def sound_files(folder: str) -> tuple[Path, ...]:
    """List the sound files in a folder and the folders in it, sorted by name.

    Raises:
        ValueError: there are none.
    """
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise ValueError(f"{folder} holds no sound files; name a folder with recordings")
    return tuple(found)


def recorded_noise(
    folder: str, length: int, sample_rate: int, generator: torch.Generator
) -> Tensor:
    """Draw a stretch of one of a folder's recordings, repeated where it is too short.

    Returns:
        (length,) sound, its channels mixed.

    Raises:
        ValueError: the folder holds no sound files.
        AudioDecodeError: the file drawn is damaged.
    """
    path = choose(generator, sound_files(folder))
    seconds = length / sample_rate
    there = info(path).duration
    room = 0.0 if there is None else max(0.0, there - seconds)
    # Drawn even where there is no room, so that all that follows stays the same.
    offset = uniform(generator, (0.0, room))
    wav = load(path, sample_rate=sample_rate, mono=True, offset=offset, duration=seconds).wav[0]
    return wav.repeat(-(-length // wav.shape[0]))[:length]


def babble_noise(
    folder: str, voices: int, length: int, sample_rate: int, generator: torch.Generator
) -> Tensor:
    """Draw (length,) noise of several recordings of speech at once, each at the same level."""
    total = torch.zeros(length)
    for _ in range(voices):
        voice = recorded_noise(folder, length, sample_rate, generator)
        level = math.sqrt(active_power(voice, sample_rate))
        shift = int(torch.randint(max(1, length), (), generator=generator))
        total += voice.roll(shift) / max(level, 1e-9)
    return total


@dataclass(frozen=True, slots=True)
class Noise:
    """Random additive noise.

    Attributes:
        snr_db: (least, most) decibels by which speech is louder.
        kinds: what may be drawn, all equally likely; repeat a kind to make it likelier.
        recordings: folder of noises, for the kind "recorded".
        speech: folder of other utterances, for the kind "babble".
        voices: (fewest, most) of a babble.
        probability: of being applied.
    """

    snr_db: Range = (5.0, 30.0)
    kinds: tuple[NoiseKind, ...] = ("white", "pink")
    recordings: str | None = None
    speech: str | None = None
    voices: tuple[int, int] = (3, 6)
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("snr_db", self.snr_db, -40, 100)
        check_range("voices", self.voices, 1, 100)
        check_probability(self.probability)
        known = get_args(NoiseKind)
        if not self.kinds or not set(self.kinds) <= set(known):
            raise ValueError(f"kinds are {self.kinds}; choose some of {', '.join(known)}")
        for kind, field in (("recorded", "recordings"), ("babble", "speech")):
            if kind in self.kinds and getattr(self, field) is None:
                raise ValueError(f"noise of kind {kind!r} needs a folder in {field}; it is None")

    def __call__(self, wav: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Return (T,) or (C, T) sound with a drawn noise at a drawn level."""
        kind, snr_db = choose(generator, self.kinds), uniform(generator, self.snr_db)
        noise = self._draw(kind, wav.shape[-1], sample_rate, generator)
        return add_noise(wav, noise, snr_db, sample_rate)

    def _draw(
        self, kind: NoiseKind, length: int, sample_rate: int, generator: torch.Generator
    ) -> Tensor:
        if kind == "pink":
            return pink_noise(length, sample_rate, generator)
        if kind == "recorded" and self.recordings is not None:
            return recorded_noise(self.recordings, length, sample_rate, generator)
        if kind == "babble" and self.speech is not None:
            voices = choose(generator, range(self.voices[0], self.voices[1] + 1))
            return babble_noise(self.speech, voices, length, sample_rate, generator)
        return white_noise(length, generator)

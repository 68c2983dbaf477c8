"""Augmentation of training sound: room, noise, line and codec, seeded per utterance.

    augment = Augment(AugmentConfig(noise=Noise(snr_db=(0, 20)), codec=None))
    wav, speed = augment(wav, 16_000, seed="epoch 3, row 17")

Every effect is a frozen dataclass with its probability, and a plain function that does it by given
numbers. `SpecAugment` works on features, after all these.
"""

from echoic.audio.augment.augment import Augment, AugmentConfig, Augmented
from echoic.audio.augment.band import Band, cut_lows, limit_band
from echoic.audio.augment.codec import Codec, recode
from echoic.audio.augment.draw import generator_for
from echoic.audio.augment.level import Clipping, Gain, active_power, change_gain, clip
from echoic.audio.augment.noise import (
    Noise,
    add_noise,
    babble_noise,
    pink_noise,
    recorded_noise,
    white_noise,
)
from echoic.audio.augment.reverb import Reverb, reverberate, room_response
from echoic.audio.augment.spec_augment import SpecAugment
from echoic.audio.augment.speed import Speed, change_speed

__all__ = [
    "Augment",
    "AugmentConfig",
    "Augmented",
    "Band",
    "Clipping",
    "Codec",
    "Gain",
    "Noise",
    "Reverb",
    "SpecAugment",
    "Speed",
    "active_power",
    "add_noise",
    "babble_noise",
    "change_gain",
    "change_speed",
    "clip",
    "cut_lows",
    "generator_for",
    "limit_band",
    "pink_noise",
    "recode",
    "recorded_noise",
    "reverberate",
    "room_response",
    "white_noise",
]

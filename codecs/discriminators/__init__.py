"""Networks that tell recordings from a codec's sound: what codecs learn from."""

from echoic.codecs.discriminators.ensemble import Discriminators
from echoic.codecs.discriminators.period import PeriodConfig, PeriodDiscriminator
from echoic.codecs.discriminators.scale import ScaleConfig, ScaleDiscriminator
from echoic.codecs.discriminators.spectrogram import SpectrogramConfig, SpectrogramDiscriminator

__all__ = [
    "Discriminators",
    "PeriodConfig",
    "PeriodDiscriminator",
    "ScaleConfig",
    "ScaleDiscriminator",
    "SpectrogramConfig",
    "SpectrogramDiscriminator",
]

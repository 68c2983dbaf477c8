"""HiFi-Codec (Yang et al. 2023, arXiv:2305.02765)."""

from typing import ClassVar

from echoic.codecs.hificodec.config import HiFiCodecConfig
from echoic.codecs.hificodec.encoder import HiFiEncoder
from echoic.codecs.hifigan import Generator, generator_layers
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.weight_norm import WeightNormCodec


class HiFiCodec(WeightNormCodec):
    """Two groups of two residual books between a mirrored HiFi-GAN and a plain one.

    Group norms over time make every code of the encoder depend on the length of the recording:
    rows of a batch are encoded one by one, so that each has the codes it has alone, and a stream
    cannot be encoded. The decoder streams, 14 frames behind.

    The end of a recording is filled up to a whole frame, and decoding gives back its length. The
    published code instead drops what is less than a frame: codes are the same where nothing is.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "hificodec"
    config_class: ClassVar[type] = HiFiCodecConfig
    batchable: ClassVar[bool] = False
    encoder_waits: ClassVar[str] = (
        "its group norms take mean and variance over the whole recording; encode it whole, or use "
        "a causal codec (echocodec)"
    )

    def __init__(self, config: HiFiCodecConfig) -> None:
        layers = generator_layers(
            config.quantizer.dim, config.generator, weight_norm=config.weight_norm
        )
        super().__init__(
            config, HiFiEncoder(config), Quantizer(config.quantizer), Generator(layers)
        )

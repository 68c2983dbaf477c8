"""EchoCodec: a causal codec of spectra that a laptop's processor trains and streams."""

from typing import ClassVar

from echoic.codecs.codec import Codec
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.echocodec.decoder import make_decoder
from echoic.codecs.echocodec.encoder import make_encoder
from echoic.codecs.quantize.quantizer import Quantizer


class EchoCodec(Codec):
    """A codec without look-ahead in its network: spectra in, spectra out, ConvNeXt in between.

    The encoder sees the complex spectra of the past; the decoder draws the spectra of each frame,
    whose overlap is the only look-ahead. All layers but the Fourier transforms run at 50 to 200
    frames a second, so that a second of speech costs about 1 GFLOP. Any quantizer fits: residual,
    group-residual, masked-channel, or one big book.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "echocodec"
    config_class: ClassVar[type] = EchoCodecConfig
    # Spectra overlap: those beyond the end would sound in the last samples before it.
    ends_alone: ClassVar[bool] = False

    def __init__(self, config: EchoCodecConfig) -> None:
        super().__init__(
            config, make_encoder(config), Quantizer(config.quantizer), make_decoder(config)
        )

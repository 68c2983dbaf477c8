"""Language-Codec (Ji et al. 2024, arXiv:2402.12208)."""

from typing import ClassVar

from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.languagecodec.decoder import make_decoder
from echoic.codecs.languagecodec.encoder import SeanetEncoder
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.weight_norm import WeightNormCodec


class LanguageCodec(WeightNormCodec):
    """A SEANet encoder, masked-channel residual books, and a Vocos decoder that draws spectra.

    Of the 8 codes of a frame the first three each see a third of the latents' channels; the others
    refine their sum. Any prefix decodes, but speech needs the first three: one or two leave whole
    bands of the latents out.

    Neither side is causal, and both stream exactly, behind by what they hear ahead: published,
    codes are 63 ms behind the first sample of their frame (`streaming_encoder().latency_ms`), and
    waveforms 560 ms behind their codes. Rows of a batch that have lengths of their own are coded
    one by one: the encoder reflects each recording at its true end.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "languagecodec"
    config_class: ClassVar[type] = LanguageCodecConfig
    batchable: ClassVar[bool] = False
    pads_end: ClassVar[bool] = True

    def __init__(self, config: LanguageCodecConfig) -> None:
        super().__init__(
            config, SeanetEncoder(config), Quantizer(config.quantizer), make_decoder(config)
        )

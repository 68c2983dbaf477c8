"""Language-Codec's encoder: EnCodec's SEANet with look-ahead, as layers that stream."""

from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.mono import MonoEncoder
from echoic.codecs.seanet import SeanetConfig, encoder_layers


class SeanetEncoder(MonoEncoder):
    """Waveforms (B, T) to latents (B, quantizer.dim, ceil(T / hop_length)).

    Reflected padding lies around the true start and end of a recording, at every layer: rows of a
    batch must have one length.

    Args:
        config: settings.
    """

    def __init__(self, config: LanguageCodecConfig) -> None:
        seanet = SeanetConfig(
            ratios=config.ratios,
            channels=config.encoder_channels,
            lstm_layers=config.lstm_layers,
            causal=config.causal,
            pad_mode=config.pad_mode,
        )
        dim = config.quantizer.dim
        super().__init__(*encoder_layers(seanet, dim, weight_norm=config.weight_norm))

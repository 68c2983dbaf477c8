"""EnCodec (Défossez et al. 2022, arXiv:2210.13438), mono: Meta's at 24 kHz and at 32 kHz."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor

from echoic.codecs.hifigan import Generator
from echoic.codecs.mono import MonoEncoder, mono_end
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.seanet import SeanetConfig, decoder_layers, encoder_layers
from echoic.codecs.upstream.checkpoint import transfer
from echoic.codecs.upstream.transformers_codec import (
    TransformersCodec,
    drop,
    pad_mode,
    require,
    seanet_name,
    setting,
    take_stack,
)

_STEREO = (
    "EnCodec's stereo form at 48 kHz, in segments with a scale each, is not supported; use the one "
    "at 24 or 32 kHz"
)


@dataclass(frozen=True, slots=True)
class EncodecConfig:
    """Settings of `Encodec`; the defaults are the published ones at 24 kHz.

    Attributes:
        sample_rate: Hz.
        seanet: encoder and decoder.
        quantizer: settings of the quantizer; its `dim` is the channels of the latents.
    """

    sample_rate: int = 24_000
    seanet: SeanetConfig = SeanetConfig()  # noqa: RUF009 (frozen)
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(128, num_layers=32))

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise ValueError(f"sample_rate is {self.sample_rate}, expected 1 or more")

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return self.seanet.hop_length


class Encodec(TransformersCodec):
    """A SEANet with an LSTM around residual books.

    At 24 kHz both sides are causal, and stream; only the start waits, for the samples and frames
    that reflected padding mirrors. At 32 kHz they hear ahead, and stream so much later.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "encodec"
    config_class: ClassVar[type] = EncodecConfig
    pads_end: ClassVar[bool] = True

    def __init__(self, config: EncodecConfig) -> None:
        dim = config.quantizer.dim
        decoder = decoder_layers(config.seanet, dim, weight_norm=False)
        named = OrderedDict((str(place), layer) for place, layer in enumerate(decoder))
        super().__init__(
            config,
            MonoEncoder(*encoder_layers(config.seanet, dim, weight_norm=False)),
            Quantizer(config.quantizer),
            Generator(named | mono_end()),
        )

    @classmethod
    def from_published(cls, values: Mapping[str, Any], state: dict[str, Tensor]) -> Self:
        """Build the codec of the library's settings and tensors; see `TransformersCodec`."""
        mono = {"audio_channels": 1, "normalize": False, "chunk_length_s": None}
        require(values, {**mono, "norm_type": "weight_norm"}, _STEREO)
        books = take_stack(state, "quantizer.layers.", ".codebook.embed")
        drop(state, ".codebook.inited", ".codebook.cluster_size", ".codebook.embed_avg")
        config = EncodecConfig(
            sample_rate=setting(values, "sampling_rate", 24_000),
            seanet=SeanetConfig(
                ratios=setting(values, "upsampling_ratios", (8, 5, 4, 2))[::-1],
                channels=setting(values, "num_filters", 32),
                kernel_size=setting(values, "kernel_size", 7),
                last_kernel_size=setting(values, "last_kernel_size", 7),
                residual_kernel_size=setting(values, "residual_kernel_size", 3),
                residual_layers=setting(values, "num_residual_layers", 1),
                dilation_growth=setting(values, "dilation_growth_rate", 2),
                compress=setting(values, "compress", 2),
                lstm_layers=setting(values, "num_lstm_layers", 2),
                conv_shortcut=setting(values, "use_conv_shortcut", True),
                causal=setting(values, "use_causal_conv", True),
                pad_mode=pad_mode(values, "reflect"),
                trim_right=setting(values, "trim_right_ratio", 1.0),
            ),
            quantizer=QuantizerConfig(
                setting(values, "hidden_size", 128),
                codebook_size=books.shape[1],
                num_layers=len(books),
            ),
        )
        if books.shape[2] != config.quantizer.dim:
            raise ValueError(
                f"the books have {books.shape[2]} channels, expected {config.quantizer.dim} "
                "(hidden_size)"
            )
        codec = cls(config)
        codec.quantizer.codebooks.set_books(books[:, None])
        names = [name for name in codec.state_dict() if not name.startswith("quantizer.")]
        transfer(codec, state, {_published(name): name for name in names})
        return codec


def _published(name: str) -> str:
    side, rest = name.split(".", 1)
    return f"{side}.layers.{seanet_name(rest)}"

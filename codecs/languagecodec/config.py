"""Settings of Language-Codec and its published sizes."""

import math
from dataclasses import dataclass, field
from typing import Any

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.streaming.layers.padding import PAD_MODES, PadMode

_PRESETS: dict[str, dict[str, Any]] = {
    "24k": {},
    "24k-v1": {"blocks": 8, "quantizer": QuantizerConfig.mcrvq(128, codebook_size=2048)},
    "tiny": {
        "encoder_channels": 8,
        "width": 96,
        "hidden": 288,
        "blocks": 4,
        "conditions": 1,
        "quantizer": QuantizerConfig.mcrvq(64),
    },
}
PRESETS = tuple(_PRESETS)


@dataclass(frozen=True, slots=True)
class LanguageCodecConfig:
    """Settings of `LanguageCodec`; the defaults are the published 24 kHz codec (version 2).

    Attributes:
        sample_rate: Hz.
        ratios: strides of the encoder's stages, the first at the rate of the samples.
        encoder_channels: before the first stage; each stage doubles them.
        lstm_layers: of the recurrence behind the last stage.
        pad_mode: what lies around the signal and around the encoder's features.
        width: channels of the decoder.
        hidden: channels inside a block of the decoder.
        blocks: ConvNeXt blocks of the decoder.
        conditions: rows of the tables of the decoder's layer norms. Version 2 has four, trained for
            one and the same bitrate.
        condition: which of them is used.
        n_fft: samples of a spectrum of the decoder.
        causal: no look-ahead in convolutions, unlike what is published. What remains is the overlap
            of the decoder's spectra, and at the start what `pad_mode` "reflect" mirrors.
        quantizer: settings of the quantizer; its `dim` is the channels of the latents.
        weight_norm: whether the encoder's convolutions are trained as direction and length; files
            hold plain weights.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    sample_rate: int = 24_000
    ratios: tuple[int, ...] = (2, 4, 5, 8)
    encoder_channels: int = 32
    lstm_layers: int = 2
    pad_mode: PadMode = "reflect"
    width: int = 384
    hidden: int = 1152
    blocks: int = 12
    conditions: int = 4
    condition: int = 0
    n_fft: int = 1280
    causal: bool = False
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig.mcrvq(128))
    weight_norm: bool = True

    def __post_init__(self) -> None:
        sizes = ("sample_rate", "lstm_layers", "width", "hidden", "blocks", "conditions")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.encoder_channels < 2 or self.encoder_channels % 2:
            raise ValueError(
                f"encoder_channels is {self.encoder_channels}, expected an even number: a residual "
                "unit halves them inside"
            )
        if not self.ratios or min(self.ratios) < 1:
            raise ValueError(f"ratios are {self.ratios}, expected one or more strides of 1 or more")
        if not 0 <= self.condition < self.conditions:
            raise ValueError(
                f"condition is {self.condition}, expected 0 to {self.conditions - 1} (conditions)"
            )
        if self.pad_mode not in PAD_MODES:
            raise ValueError(f"pad_mode is {self.pad_mode!r}, expected one of {PAD_MODES}")
        if self.n_fft % 2 or self.n_fft < 2 * self.hop_length:
            raise ValueError(
                f"n_fft is {self.n_fft}, expected an even number of {2 * self.hop_length} or more: "
                f"spectra every {self.hop_length} samples must overlap by half"
            )

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return math.prod(self.ratios)

    @classmethod
    def preset(cls, name: str) -> "LanguageCodecConfig":
        """Return a published size, or one that a CPU can train.

        Args:
            name: "24k" (version 2: 75 frames a second of 8 codes of 10 bits, 6 kbit/s), "24k-v1"
                (of 11 bits, 6.6 kbit/s, with a smaller decoder) or "tiny" (6 kbit/s, 0.9 M
                parameters; not published).

        Raises:
            ValueError: another name.
        """
        if name not in _PRESETS:
            raise ValueError(f"preset is {name!r}, expected one of {', '.join(PRESETS)}")
        return cls(**_PRESETS[name])

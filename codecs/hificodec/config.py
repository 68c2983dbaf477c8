"""Settings of HiFi-Codec and its published sizes."""

from dataclasses import dataclass, field

from echoic.codecs.hifigan import GeneratorConfig
from echoic.codecs.quantize.config import QuantizerConfig

_FAST = GeneratorConfig(rates=(8, 5, 3, 2), kernels=(16, 11, 7, 4))
_PRESETS = {
    "16k-320d": (16_000, GeneratorConfig()),
    "24k-320d": (24_000, GeneratorConfig()),
    "24k-240d": (24_000, _FAST),
}
PRESETS = tuple(_PRESETS)


@dataclass(frozen=True, slots=True)
class HiFiCodecConfig:
    """Settings of `HiFiCodec`; the defaults are the published 24k-320d.

    Attributes:
        sample_rate: Hz.
        generator: the decoder; the encoder has the same stages the other way round.
        encoder_channels: before the encoder's first stage; each stage doubles them. The last
            stage's are the channels of the latents, the quantizer's `dim`.
        norm_channels: channels of one group of the encoder's group norms.
        quantizer: settings of the quantizer.
        weight_norm: whether convolutions are trained as direction and length; files hold plain
            weights.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    sample_rate: int = 24_000
    generator: GeneratorConfig = GeneratorConfig()  # noqa: RUF009 (frozen)
    encoder_channels: int = 32
    norm_channels: int = 16
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig.grvq)
    weight_norm: bool = True

    def __post_init__(self) -> None:
        for name in ("sample_rate", "encoder_channels", "norm_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if 2 * self.encoder_channels % self.norm_channels:
            raise ValueError(
                f"the first stage has {2 * self.encoder_channels} channels, expected a multiple of "
                f"norm_channels ({self.norm_channels})"
            )
        latent = self.encoder_channels * 2 ** len(self.generator.rates)
        if self.quantizer.dim != latent:
            raise ValueError(
                f"the quantizer's dim is {self.quantizer.dim}, expected {latent}: encoder_channels "
                f"({self.encoder_channels}) doubled in {len(self.generator.rates)} stages"
            )

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return self.generator.hop_length

    @classmethod
    def preset(cls, name: str) -> "HiFiCodecConfig":
        """Return a published size: 50, 75 or 100 frames a second of 4 codes of 10 bits.

        Args:
            name: "16k-320d" (2 kbit/s), "24k-320d" (3 kbit/s) or "24k-240d" (4 kbit/s).

        Raises:
            ValueError: another name.
        """
        if name not in _PRESETS:
            raise ValueError(f"preset is {name!r}, expected one of {', '.join(PRESETS)}")
        sample_rate, generator = _PRESETS[name]
        return cls(sample_rate=sample_rate, generator=generator)

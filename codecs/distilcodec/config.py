"""Settings of DistilCodec, of its teacher, and of sizes that a processor trains."""

from dataclasses import dataclass, field, replace

from echoic.audio.features.codec_mel import MelConfig
from echoic.codecs.hifigan import GeneratorConfig
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.streaming.layers.padding import PadMode

_PUBLISHED = GeneratorConfig(
    rates=(8, 4, 2, 2, 2),
    kernels=(16, 12, 4, 4, 4),
    channels=1024,
    outer_kernel=13,
    activation="silu",
)
_TINY = GeneratorConfig(rates=(8, 8, 2, 2), kernels=(16, 16, 4, 4), channels=128, activation="silu")


@dataclass(frozen=True, slots=True)
class DistilCodecConfig:
    """Settings of `DistilCodec`; the defaults are the published size.

    Attributes:
        mel: the encoder's input; its hop is a frame of codes.
        widths: channels of the encoder's stages; the last are those of the latents.
        depths: blocks of each stage.
        kernel_size: frames that a block sees; odd.
        expansion: widening inside a block.
        layer_scale: first value of a block's scales.
        drop_path: probability in training that the last block of the encoder is skipped; it grows
            from 0 at the first (stochastic depth, Huang et al. 2016, arXiv:1603.09382).
        stem_padding: what the first convolution finds around the recording.
        generator: the decoder.
        quantizer: settings of the quantizer; its `dim` is the channels of the latents.
        weight_norm: whether the decoder's convolutions are trained as direction and length; files
            hold plain weights.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    mel: MelConfig = field(default_factory=MelConfig.distilcodec)
    widths: tuple[int, ...] = (256, 512, 768, 1024)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    kernel_size: int = 7
    expansion: int = 4
    layer_scale: float = 1e-6
    drop_path: float = 0.2
    stem_padding: PadMode = "zeros"
    generator: GeneratorConfig = _PUBLISHED
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig.single)
    weight_norm: bool = True

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) != len(self.depths):
            raise ValueError(
                f"{len(self.widths)} widths and {len(self.depths)} depths, expected one of each "
                "for every stage"
            )
        if min(*self.widths, *self.depths, self.expansion) < 1:
            raise ValueError(
                f"widths are {self.widths}, depths {self.depths} and expansion {self.expansion}, "
                "expected 1 or more"
            )
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}, expected an odd number")
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"drop_path is {self.drop_path}, expected 0 or more and less than 1")
        self._check_frames()

    def _check_frames(self) -> None:
        if self.mel.padding not in ("same", "left"):
            raise ValueError(
                f"the mel's padding is {self.mel.padding!r}, expected 'same' or 'left': a frame "
                "for every hop"
            )
        if self.mel.hop_length != self.generator.hop_length:
            raise ValueError(
                f"a frame of the mel has {self.mel.hop_length} samples, one of the generator "
                f"{self.generator.hop_length}: expected the same"
            )
        if self.quantizer.dim != self.widths[-1]:
            raise ValueError(
                f"the quantizer's dim is {self.quantizer.dim}, expected {self.widths[-1]}, the "
                "last of widths"
            )

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.mel.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return self.mel.hop_length

    @classmethod
    def tiny(cls, sample_rate: int = 16_000) -> "DistilCodecConfig":
        """Return a student of 3 million parameters: 62.5 frames a second at 16 kHz, 12 bits each.

        Its book of 4,096 codes lies behind a projection to twice the latents' channels, as the
        published one behind three and a half times.
        """
        return cls(
            mel=MelConfig(sample_rate=sample_rate, num_mels=80, epsilon=1e-6),
            widths=(96, 128, 160, 192),
            depths=(1, 1, 3, 1),
            layer_scale=0.1,
            drop_path=0.0,
            generator=_TINY,
            quantizer=QuantizerConfig.single(192, codebook_size=4096, codebook_dim=384),
        )

    def as_teacher(
        self, *, num_layers: int = 8, num_groups: int = 4, codebook_size: int = 1024
    ) -> "DistilCodecConfig":
        """Return the teacher of the first stage: this encoder and decoder around many small books.

        A student made from this config inherits its encoder and decoder (`inherit`).
        """
        books = QuantizerConfig(
            self.quantizer.dim,
            codebook_size=codebook_size,
            num_layers=num_layers,
            num_groups=num_groups,
        )
        return replace(self, quantizer=books)

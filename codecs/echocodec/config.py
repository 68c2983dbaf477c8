"""Settings of EchoCodec and its published sizes."""

from dataclasses import dataclass, field

from echoic.codecs.quantize.config import QuantizerConfig


@dataclass(frozen=True, slots=True)
class EchoCodecConfig:
    """Settings of `EchoCodec`; the defaults are `echo-16k-tiny`.

    Attributes:
        sample_rate: Hz.
        hop_length: samples of a frame of codes.
        frame_split: spectra in a frame of codes: the network's outer layers run at this many times
            the frame rate.
        n_fft: samples of a spectrum; all but one step of it is the decoder's look-ahead.
        width: channels.
        expansion: widening inside a block.
        kernel_size: frames that a block looks at, none of them to come.
        encoder_outer: blocks at the rate of the spectra.
        encoder_inner: blocks at the rate of the codes.
        decoder_inner: blocks at the rate of the codes.
        decoder_outer: blocks at the rate of the spectra.
        quantizer: settings of the quantizer; its `dim` is the channels of the latents.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    sample_rate: int = 16_000
    hop_length: int = 320
    frame_split: int = 2
    n_fft: int = 640
    width: int = 256
    expansion: int = 3
    kernel_size: int = 7
    encoder_outer: int = 3
    encoder_inner: int = 4
    decoder_inner: int = 4
    decoder_outer: int = 5
    quantizer: QuantizerConfig = field(
        default_factory=lambda: QuantizerConfig(
            dim=96, num_layers=22, dropout=0.2, warmup_steps=300
        )
    )

    def __post_init__(self) -> None:
        for name in ("sample_rate", "hop_length", "frame_split", "width", "expansion"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.hop_length % self.frame_split:
            raise ValueError(
                f"hop_length is {self.hop_length}, expected a multiple of frame_split "
                f"({self.frame_split})"
            )
        if self.n_fft < 2 * self.spectrum_hop:
            raise ValueError(
                f"n_fft is {self.n_fft}, expected {2 * self.spectrum_hop} or more: spectra every "
                f"{self.spectrum_hop} samples must overlap by half"
            )

    @property
    def spectrum_hop(self) -> int:
        """Samples between two spectra."""
        return self.hop_length // self.frame_split

    @property
    def spectrum_width(self) -> int:
        """Numbers of a spectrum: real and imaginary parts."""
        return 2 * (self.n_fft // 2 + 1)

    @classmethod
    def tiny_16k(cls) -> "EchoCodecConfig":
        """Return `echo-16k-tiny`: 50 frames a second, 22 residual codes of 10 bits, 11 kbit/s."""
        return cls()

    @classmethod
    def base_24k(cls) -> "EchoCodecConfig":
        """Return `echo-24k`: 75 frames a second, 8 masked-channel codes of 10 bits, 6 kbit/s."""
        return cls(
            sample_rate=24_000,
            n_fft=960,
            width=512,
            encoder_outer=4,
            encoder_inner=6,
            decoder_inner=6,
            decoder_outer=8,
            quantizer=QuantizerConfig.mcrvq(128),
        )

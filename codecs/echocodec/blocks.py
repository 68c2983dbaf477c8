"""What EchoCodec's encoder and decoder are built from."""

import torch
from torch import Tensor, nn

from echoic.audio.features.framing import FrameFeatures
from echoic.audio.features.stft import analysis_framing, padded_hann, spectrum
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise
from echoic.streaming.layers.sequential import StreamingSequential

# Of magnitudes, between the waveform and the network.
SPECTRAL_POWER = 0.3


class CompressedSpectrum(FrameFeatures):
    """Spectra (B, F, 2 * bins) of waveforms (B, T): real and imaginary parts, loudness compressed.

    Magnitudes are raised to a power, so that quiet overtones weigh as much as they are heard;
    phases stay. Frames lie in the past: no look-ahead.

    Args:
        n_fft: samples of a spectrum.
        hop: samples between two.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        window = padded_hann(n_fft, None)
        super().__init__(analysis_framing(window, hop, "left"))
        self.register_buffer("window", window, persistent=False)

    def features(self, frames: Tensor) -> Tensor:
        """Turn frames (B, F, n_fft) into compressed spectra (B, F, 2 * bins)."""
        bins = spectrum(frames * self.window)
        real, imag = bins.real, bins.imag
        # The floor, 80 dB below a full-scale tone, keeps silence at rest and its gradient finite.
        power = real.square() + imag.square() + 1e-6
        scale = power.pow((SPECTRAL_POWER - 1.0) / 2.0)
        return torch.cat([real * scale, imag * scale], dim=-1)


class FeedForward(nn.Module):
    """Norm, widening, GELU, narrowing, and a scale for each channel: (B, F, C) to (B, F, C).

    Args:
        width: C.
        expansion: widening.
        scale: first value of the scales.
    """

    def __init__(self, width: int, expansion: int, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, width * expansion)
        self.activation = nn.GELU()
        self.narrow = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Transform each frame."""
        return self.scale * self.narrow(self.activation(self.widen(self.norm(x))))


def block(width: int, expansion: int, kernel_size: int, scale: float) -> StreamingResidual:
    """Return a causal ConvNeXt block (Liu et al. 2022; in vocoders: Siuzdak 2023, Vocos)."""
    depthwise = StreamingConv1d(width, width, kernel_size, groups=width)
    mixing = Pointwise(FeedForward(width, expansion, scale), width, channels_last=True)
    return StreamingResidual(StreamingSequential(depthwise, mixing))


def channel_norm(width: int) -> Pointwise:
    """Return a layer norm over the channels of each frame of (B, C, F)."""
    return Pointwise(nn.LayerNorm(width), width, channels_last=True)

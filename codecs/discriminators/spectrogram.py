"""Discriminators that look at spectrograms (EnCodec, Défossez et al. 2022, section 3.4)."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from echoic.audio.features import Stft
from echoic.codecs.losses.adversarial import Judgement

_SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class SpectrogramConfig:
    """Settings of `SpectrogramDiscriminator`; the defaults are EnCodec's and HiFi-Codec's.

    Attributes:
        n_ffts: samples in the transforms, one discriminator each; they hop by a quarter.
        filters: channels of every layer.
        kernel: (time, frequency) sizes of the layers' kernels.
        dilations: in time, of the layers after the first.
        strides: in frequency, of the layers after the first.
        first_stride: in frequency, of the first layer; more than 1 saves most of the work.
        representation: "complex" sees real and imaginary parts, "magnitude" their size only.
        hann: windowed; else rectangular, as Vocos' magnitude discriminator.
    """

    n_ffts: tuple[int, ...] = (1024, 2048, 512, 256, 128)
    filters: int = 32
    kernel: tuple[int, int] = (3, 9)
    dilations: tuple[int, ...] = (1, 2, 4)
    strides: tuple[int, ...] = (2, 2, 2)
    first_stride: int = 1
    representation: Literal["complex", "magnitude"] = "complex"
    hann: bool = True

    def __post_init__(self) -> None:
        if len(self.dilations) != len(self.strides):
            raise ValueError(
                f"{len(self.dilations)} dilations and {len(self.strides)} strides: give one of "
                "each for every layer after the first"
            )
        if not self.n_ffts or self.filters < 1:
            raise ValueError(
                f"n_ffts {self.n_ffts} and filters {self.filters}: expected one of each at least"
            )


class SpectrogramDiscriminator(nn.Module):
    """One stack of two-dimensional convolutions for each size of transform.

    Args:
        config: sizes.
    """

    def __init__(self, config: SpectrogramConfig | None = None) -> None:
        super().__init__()
        config = SpectrogramConfig() if config is None else config
        self.discriminators = nn.ModuleList(_OneSize(n_fft, config) for n_fft in config.n_ffts)
        # Half the time of a step on a processor, for few channels.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, wav: Tensor) -> list[Judgement]:
        """Judge sounds (B, T), each size on its own."""
        return [discriminator(wav) for discriminator in self.discriminators]


class _OneSize(nn.Module):
    def __init__(self, n_fft: int, config: SpectrogramConfig) -> None:
        super().__init__()
        self.representation = config.representation
        self.stft = Stft(n_fft, n_fft // 4, padding="none")
        if not config.hann:
            self.stft.get_buffer("window").fill_(1.0)
        self.scale = float(self.stft.get_buffer("window").square().sum().rsqrt())
        width, (time, frequency) = config.filters, config.kernel
        channels = 2 if config.representation == "complex" else 1
        first = _conv(channels, width, config.kernel, (1, config.first_stride), 1)
        self.convs = nn.ModuleList([first])
        for dilation, stride in zip(config.dilations, config.strides, strict=True):
            layer = _conv(width, width, (time, frequency), (1, stride), dilation)
            self.convs.append(weight_norm(layer))
        self.convs.append(weight_norm(_conv(width, width, (time, time), (1, 1), 1)))
        self.conv_post = weight_norm(_conv(width, 1, (time, time), (1, 1), 1))

    def forward(self, wav: Tensor) -> Judgement:
        x = self.spectrum(wav)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), _SLOPE)
            features.append(x)
        return Judgement(self.conv_post(x), features)

    def spectrum(self, wav: Tensor) -> Tensor:
        """Return pictures (B, 1 or 2, frames, bins) of sounds (B, T)."""
        with torch.autocast(wav.device.type, enabled=False):
            spectra = torch.view_as_real(self.stft(wav.float()) * self.scale)
            if self.representation == "complex":
                return spectra.permute(0, 3, 1, 2)  # channels last in memory, as it came
            return (spectra.square().sum(-1) + 1e-9).sqrt()[:, None]


def _conv(
    inside: int, outside: int, kernel: tuple[int, int], stride: tuple[int, int], dilation: int
) -> nn.Conv2d:
    padding = ((kernel[0] - 1) * dilation // 2, (kernel[1] - 1) // 2)
    return nn.Conv2d(inside, outside, kernel, stride, padding, (dilation, 1))

"""The multi-scale discriminator (MelGAN, Kumar et al. 2019; sizes of HiFi-GAN)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from echoic.codecs.losses.adversarial import Judgement

_SLOPE = 0.1


class _Layer(NamedTuple):
    width: int
    kernel: int
    stride: int
    groups: int


# At full width; groups are kept where channels are fewer, as far as they divide.
_LAYERS = (
    _Layer(128, 15, 1, 1),
    _Layer(128, 41, 2, 4),
    _Layer(256, 41, 2, 16),
    _Layer(512, 41, 4, 16),
    _Layer(1024, 41, 4, 16),
    _Layer(1024, 41, 1, 16),
    _Layer(1024, 5, 1, 1),
)


@dataclass(frozen=True, slots=True)
class ScaleConfig:
    """Settings of `ScaleDiscriminator`; the defaults are HiFi-GAN's, 29.6 M parameters.

    Attributes:
        scales: how many; each hears the sound at half the rate of the one before.
        width: share of the published channels, such as 1/16 for a CPU; 1/128 or more.
        spectral: the first scale has spectral instead of weight normalisation.
    """

    scales: int = 3
    width: float = 1.0
    spectral: bool = True

    def __post_init__(self) -> None:
        if self.scales < 1 or not 1 / 128 <= self.width <= 8:
            raise ValueError(
                f"scales {self.scales} and width {self.width}: expected 1 or more, and 1/128 to 8"
            )


class ScaleDiscriminator(nn.Module):
    """Looks at the waveform, and at it averaged over pairs, and again.

    Args:
        config: sizes.
    """

    def __init__(self, config: ScaleConfig | None = None) -> None:
        super().__init__()
        config = ScaleConfig() if config is None else config
        self.discriminators = nn.ModuleList(
            _OneScale(config.width, spectral=config.spectral and i == 0)
            for i in range(config.scales)
        )

    def forward(self, wav: Tensor) -> list[Judgement]:
        """Judge sounds (B, T), each scale on its own."""
        judgements = []
        x = wav[:, None]
        for i, discriminator in enumerate(self.discriminators):
            if i:
                x = F.avg_pool1d(x, 4, 2, padding=2)
            judgements.append(discriminator(x))
        return judgements


class _OneScale(nn.Module):
    def __init__(self, share: float, *, spectral: bool) -> None:
        super().__init__()
        norm = spectral_norm if spectral else weight_norm
        self.convs = nn.ModuleList()
        inside = 1
        for width, kernel, stride, groups in _LAYERS:
            outside = max(1, round(width * share))
            while inside % groups or outside % groups:
                groups //= 2
            padding = (kernel - 1) // 2
            layer = nn.Conv1d(inside, outside, kernel, stride, padding, groups=groups)
            self.convs.append(norm(layer))
            inside = outside
        self.conv_post = norm(nn.Conv1d(inside, 1, 3, 1, 1))

    def forward(self, x: Tensor) -> Judgement:
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), _SLOPE)
            features.append(x)
        score = self.conv_post(x)
        return Judgement(score, [*features, score])

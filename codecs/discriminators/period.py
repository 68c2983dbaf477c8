"""The multi-period discriminator (HiFi-GAN, Kong et al. 2020, section 2.3)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from echoic.codecs.losses.adversarial import Judgement

_SLOPE = 0.1


@dataclass(frozen=True, slots=True)
class PeriodConfig:
    """Settings of `PeriodDiscriminator`; the defaults are HiFi-GAN's, 41.1 M parameters.

    Attributes:
        periods: every how many samples; one discriminator each. DistilCodec has 5, 8, 13, 19, 30.
        channels: of the layers; the last one does not shorten.
        kernel: samples of a period that a layer sees.
        stride: of the layers before the last.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    kernel: int = 5
    stride: int = 3

    def __post_init__(self) -> None:
        if not self.periods or len(self.channels) < 2 or min(self.periods) < 1:
            raise ValueError(
                f"periods {self.periods} and channels {self.channels}: expected one period of 1 or "
                "more and two layers at least"
            )


class PeriodDiscriminator(nn.Module):
    """Looks at every p-th sample, for some p.

    Args:
        config: sizes.
    """

    def __init__(self, config: PeriodConfig | None = None) -> None:
        super().__init__()
        config = PeriodConfig() if config is None else config
        self.discriminators = nn.ModuleList(_OnePeriod(p, config) for p in config.periods)

    def forward(self, wav: Tensor) -> list[Judgement]:
        """Judge sounds (B, T), each period on its own."""
        return [discriminator(wav) for discriminator in self.discriminators]


class _OnePeriod(nn.Module):
    def __init__(self, period: int, config: PeriodConfig) -> None:
        super().__init__()
        self.period = period
        inputs = (1, *config.channels)
        last = len(config.channels) - 1
        self.convs = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    inputs[i],
                    width,
                    (config.kernel, 1),
                    (1 if i == last else config.stride, 1),
                    ((config.kernel - 1) // 2, 0),
                )
            )
            for i, width in enumerate(config.channels)
        )
        self.conv_post = weight_norm(nn.Conv2d(config.channels[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, wav: Tensor) -> Judgement:
        missing = -wav.shape[1] % self.period
        x = F.pad(wav[:, None], (0, missing), "reflect") if missing else wav[:, None]
        x = x.unflatten(2, (-1, self.period))  # (B, 1, T / p, p)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), _SLOPE)
            features.append(x)
        score = self.conv_post(x)
        return Judgement(score, [*features, score])

"""Distance of mel spectrograms at several resolutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from echoic.audio.features import Mel, MelConfig
from echoic.audio.features.mel import MelScale
from echoic.audio.features.stft import Padding


@dataclass(frozen=True, slots=True)
class MelLossConfig:
    """Which mel spectrograms are compared, and how; lists have one entry for each resolution.

    The defaults are the Descript Audio Codec's seven (Kumar et al. 2023, section 3.4).

    Attributes:
        windows: samples in a window and in its transform.
        num_mels: bands.
        hops: samples between two frames; a quarter of each window when None.
        win_lengths: samples of the windows proper, where they are shorter than the transform.
        weights: of each resolution; 1 each when None.
        log_weight: of the L1 distance of natural logarithms.
        linear_weight: of the L1 distance of the magnitudes themselves.
        log_floor: mels are raised to this before the logarithm.
        epsilon: added to the power under the root of a magnitude, for its gradient.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; half the sample rate when None.
        scale: mel scale.
        area_normalized: Slaney's filters of equal area; else triangles of height 1.
        padding: see `echoic.audio.features.Stft`.
    """

    windows: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048)
    num_mels: tuple[int, ...] = (5, 10, 20, 40, 80, 160, 320)
    hops: tuple[int, ...] | None = None
    win_lengths: tuple[int, ...] | None = None
    weights: tuple[float, ...] | None = None
    log_weight: float = 1.0
    linear_weight: float = 0.0
    log_floor: float = 1e-5
    epsilon: float = 1e-9
    fmin: float = 0.0
    fmax: float | None = None
    scale: MelScale = "slaney"
    area_normalized: bool = True
    padding: Padding = "same"

    def __post_init__(self) -> None:
        for name in ("num_mels", "hops", "win_lengths", "weights"):
            values: Sequence[float] | None = getattr(self, name)
            if values is not None and len(values) != len(self.windows):
                raise ValueError(
                    f"{name} has {len(values)} entries and windows {len(self.windows)}: give one "
                    "for each resolution"
                )
        if not self.windows or self.log_floor <= 0 or self.epsilon <= 0:
            raise ValueError(
                f"windows {self.windows}, log_floor {self.log_floor}, epsilon {self.epsilon}: "
                "expected one window or more, and numbers above 0"
            )

    @classmethod
    def hificodec(cls, sample_rate: int = 24_000) -> Self:
        """Return HiFi-Codec's three, of which the first weighs 45 (its weight in the loss too).

        Its code computes a fourth of 128 samples and leaves it unused; so does this.
        """
        hop, win = {16_000: (200, 800)}.get(sample_rate, (240, 1024))
        return cls(
            windows=(1024, 512, 256),
            num_mels=(80, 80, 80),
            hops=(hop, 120, 60),
            win_lengths=(win, 512, 256),
            weights=(45.0, 1.0, 1.0),
        )


class MelLoss(nn.Module):
    """Weighted sum, over resolutions, of the L1 distances of two sounds' mel spectrograms.

    Args:
        sample_rate: of the sounds, in Hz; any.
        config: which spectrograms.
    """

    def __init__(self, sample_rate: int, config: MelLossConfig | None = None) -> None:
        super().__init__()
        self.config = config = MelLossConfig() if config is None else config
        sizes = len(config.windows)
        self.weights = config.weights or (1.0,) * sizes
        self.mels = nn.ModuleList(
            Mel(
                MelConfig(
                    sample_rate=sample_rate,
                    n_fft=config.windows[i],
                    hop_length=config.hops[i] if config.hops else max(1, config.windows[i] // 4),
                    win_length=config.win_lengths[i] if config.win_lengths else None,
                    num_mels=config.num_mels[i],
                    fmin=config.fmin,
                    fmax=config.fmax,
                    epsilon=config.epsilon,
                    log_floor=None,
                    scale=config.scale,
                    padding=config.padding,
                    area_normalized=config.area_normalized,
                )
            )
            for i in range(sizes)
        )

    def forward(self, wav: Tensor, target: Tensor) -> Tensor:
        """Return the distance of sounds (B, T), a scalar in float32 whatever the autocast.

        The target gets no gradient.
        """
        config = self.config
        with torch.autocast(wav.device.type, enabled=False):
            wav, target = wav.float(), target.float().detach()
            total = wav.new_zeros(())
            for mel, weight in zip(self.mels, self.weights, strict=True):
                ours, theirs = mel(wav), mel(target)
                if config.linear_weight:
                    total = total + weight * config.linear_weight * (ours - theirs).abs().mean()
                if config.log_weight:
                    logs = (m.clamp(min=config.log_floor).log() for m in (ours, theirs))
                    first, second = logs
                    total = total + weight * config.log_weight * (first - second).abs().mean()
            return total

"""SpecAugment: strips of a spectrogram are hidden."""

from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.augment.draw import check_probability


@dataclass(frozen=True, slots=True)
class SpecAugment:
    """Hides random strips of time and of frequency (Park et al. 2019; adaptive: 2020).

    Attributes:
        freq_masks: number of strips of frequency.
        freq_width: widest strip in channels.
        time_masks: number of strips of time.
        time_width: widest strip in frames.
        time_share: widest strip as a share of the utterance, so that short ones stay readable.
        probability: that a row of the batch is touched at all.
        stacked: frames that lie side by side in the channels of one (a lower frame rate); a strip
            of frequency is hidden in each of them.
    """

    freq_masks: int = 2
    freq_width: int = 15
    time_masks: int = 2
    time_width: int = 40
    time_share: float = 0.1
    probability: float = 1.0
    stacked: int = 1

    def __post_init__(self) -> None:
        for name in ("freq_masks", "freq_width", "time_masks", "time_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; choose 0 or more")
        if not 0 <= self.time_share <= 1:
            raise ValueError(f"time_share is {self.time_share}; choose 0 to 1")
        if self.stacked < 1:
            raise ValueError(f"stacked is {self.stacked}; choose 1 or more")
        check_probability(self.probability)

    def __call__(
        self,
        features: Tensor,
        generator: torch.Generator,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Hides strips behind each row's mean.

        Args:
            features: (B, T, F) of any float type on any device.
            generator: on the CPU.
            lengths: (B,) int64 frames that count in each row; None for all.

        Returns:
            (B, T, F), a copy. Frames beyond a row's length are as they were.

        Raises:
            ValueError: F cannot be split into the frames that are said to be stacked.
        """
        batch, frames, channels = features.shape
        if channels % self.stacked:
            raise ValueError(f"{channels} channels are no {self.stacked} stacked frames")
        if lengths is None:
            lengths = torch.full((batch,), frames)
        lengths = lengths.cpu()
        widest = (lengths * self.time_share).long().clamp(max=self.time_width)
        in_time = _strips(frames, lengths, widest, self.time_masks, generator)
        bands = channels // self.stacked
        whole = torch.full((batch,), bands)
        narrow = whole.clamp(max=self.freq_width)
        in_freq = _strips(bands, whole, narrow, self.freq_masks, generator)
        in_freq = in_freq.repeat(1, self.stacked)
        touched = torch.rand(batch, generator=generator) < self.probability
        real = torch.arange(frames) < lengths[:, None]
        hidden = (in_time[:, :, None] | in_freq[:, None, :]) & (real & touched[:, None])[:, :, None]
        return torch.where(hidden.to(features.device), _means(features, real), features)


def _strips(
    size: int, extent: Tensor, widest: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Draw (B, size) masks, True in `count` strips of 0 to `widest` within the first `extent`."""
    shape = (len(extent), count)
    width = (torch.rand(shape, generator=generator) * (widest[:, None] + 1)).long()
    start = (torch.rand(shape, generator=generator) * (extent[:, None] - width + 1)).long()
    at = torch.arange(size)[None, None, :]
    inside = (at >= start[:, :, None]) & (at < (start + width)[:, :, None])
    return inside.any(dim=1)


def _means(features: Tensor, real: Tensor) -> Tensor:
    """Mean of each row over the frames that count, (B, 1, 1)."""
    weights = real.to(features)[:, :, None]
    total = (features * weights).sum(dim=(1, 2), keepdim=True)
    counted = weights.sum(dim=(1, 2), keepdim=True) * features.shape[2]
    return total / counted.clamp(min=1)

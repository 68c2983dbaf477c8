"""The weight of each frame: how much of a token it holds."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.sanm import length_mask


class Weights(Protocol):
    """The weights of frames."""

    def __call__(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, T) of hidden (B, T, D), 0 beyond lengths (B,)."""
        ...

    def unmasked(self, hidden: Tensor) -> Tensor:
        """Return (B, T) of hidden (B, T, D), beyond whose ends there is silence."""
        ...


class FrameWeights(nn.Module):
    """A convolution and a sigmoid: a weight for each frame, in float32 also under autocast.

    Args:
        dim: width of the frames.
        config: of the predictor.
    """

    def __init__(self, dim: int, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.depthwise = config.conv == "depthwise"
        size = config.left + config.right + 1
        self.conv = nn.Conv1d(dim, dim, size, groups=dim if self.depthwise else 1)
        self.dropout = nn.Dropout(config.dropout if self.depthwise else 0.0)
        self.output = nn.Linear(dim, 1)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, T) of hidden (B, T, D), 0 beyond lengths (B,)."""
        weights = self.unmasked(hidden)
        return weights * length_mask(lengths, weights.shape[1])

    def unmasked(self, hidden: Tensor) -> Tensor:
        """Return (B, T) of hidden (B, T, D), beyond whose ends there is silence."""
        with torch.autocast(hidden.device.type, enabled=False):
            x = hidden.float().transpose(1, 2)
            y = self.conv(functional.pad(x, (self.config.left, self.config.right)))
            y = self.dropout(x + y) if self.depthwise else y
            score = self.output(functional.relu(y).transpose(1, 2)).squeeze(2)
            weight = score.sigmoid() * self.config.smooth_factor - self.config.noise_threshold
            return functional.relu(weight)


def scale_to(weights: Tensor, quantity: Tensor, counts: Tensor) -> Tensor:
    """Return weights (B, T) scaled so that those of each row sum to counts (B,)."""
    return weights * (counts / quantity.clamp(min=1e-6))[:, None]

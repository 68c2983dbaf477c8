"""The SAN-M encoder: stacked features in, one vector for each of them out."""

import math

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.config import EncoderConfig
from echoic.asr.paraformer.sanm import FeedForward, SanmAttention, layer_norm, length_mask


def position_code(first: int, count: int, dim: int, device: torch.device | str) -> Tensor:
    """Return sines, then cosines, of positions from `first` on: (count, dim) float32.

    Args:
        first: the first position; the first frame of an utterance has 1.
        count: positions.
        dim: even.
        device: where.
    """
    half = dim // 2
    step = math.log(10_000) / max(half - 1, 1)
    rates = torch.exp(torch.arange(half, device=device, dtype=torch.float32) * -step)
    angles = torch.arange(first, first + count, device=device, dtype=torch.float32)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class EncoderBlock(nn.Module):
    """Attention with a memory, then a feed-forward layer, each behind a norm.

    Args:
        size: width of the input. Where it is not the model's, what attention returns replaces it;
            else it is added.
        config: sizes.
    """

    def __init__(self, size: int, config: EncoderConfig) -> None:
        super().__init__()
        self.residual = size == config.dim
        self.norm1 = layer_norm(size)
        self.attention = SanmAttention(
            size, config.dim, config.heads, config.kernel_size, config.shift, config.dropout
        )
        self.norm2 = layer_norm(config.dim)
        self.feed_forward = FeedForward(config.dim, config.ffn_dim, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Turn x (B, T, size) into (B, T, dim); mask (B, T) tells the frames that count."""
        y = self.dropout(self.attention(self.norm1(x), mask))
        x = x + y if self.residual else y
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Encoder(nn.Module):
    """All blocks and a norm.

    Args:
        num_features: width of the input.
        config: sizes.
    """

    def __init__(self, num_features: int, config: EncoderConfig) -> None:
        super().__init__()
        self.scale = config.dim**0.5
        sizes = [num_features, *[config.dim] * (config.layers - 1)]
        self.blocks = nn.ModuleList([EncoderBlock(size, config) for size in sizes])
        self.norm = layer_norm(config.dim)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Encode features (B, T, F), of which lengths (B,) count, as (B, T, dim).

        What stands beyond an utterance's length is not blanked.
        """
        mask = length_mask(lengths, features.shape[1])
        x = features * self.scale
        x = x + position_code(1, x.shape[1], x.shape[2], x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

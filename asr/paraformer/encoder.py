"""The SAN-M encoder: stacked features in, one vector for each of them out."""

import math

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.config import EncoderConfig, FrontendConfig
from echoic.asr.paraformer.sanm import (
    Context,
    FeedForward,
    SanmAttention,
    layer_norm,
    length_mask,
)
from echoic.asr.paraformer.stem import Stem


def position_code(positions: Tensor, dim: int) -> Tensor:
    """Return sines, then cosines, of positions: (..., dim) float32.

    Args:
        positions: (...) int64; the first frame of an utterance has 1.
        dim: even.
    """
    half = dim // 2
    step = math.log(10_000) / max(half - 1, 1)
    rates = torch.exp(torch.arange(half, device=positions.device, dtype=torch.float32) * -step)
    angles = positions[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


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
        self.feed_forward = FeedForward(
            config.dim, config.ffn_dim, config.dropout, activation=config.activation
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor, context: Context | None = None) -> Tensor:
        """Turn x (B, T, size) into (B, T, dim); mask (B, T) tells the frames that count."""
        y = self.dropout(self.attention(self.norm1(x), mask, context))
        x = x + y if self.residual else y
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Encoder(nn.Module):
    """All blocks and a norm, behind a stem where there is one.

    Args:
        frontend: of the input.
        config: sizes.

    Attributes:
        width: of what the first block is given.
    """

    def __init__(self, frontend: FrontendConfig, config: EncoderConfig) -> None:
        super().__init__()
        self.scale = config.dim**0.5
        self.period = config.period
        self.stem = Stem(frontend, config.dim) if config.stem else None
        self.width = config.dim if config.stem else frontend.num_features
        sizes = [self.width, *[config.dim] * (config.layers - 1)]
        self.blocks = nn.ModuleList([EncoderBlock(size, config) for size in sizes])
        self.norm = layer_norm(config.dim)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Encode features (B, T, F), of which lengths (B,) count, as (B, T, dim).

        What stands beyond an utterance's length is not blanked.
        """
        mask = length_mask(lengths, features.shape[1])
        x = self.embed(features)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def embed(self, features: Tensor, before: Tensor | None = None) -> Tensor:
        """Prepare features (B, T, F) and tell their place, behind `before` (B,) frames.

        Returns:
            (B, T, width), what the first block is given.
        """
        places = torch.arange(features.shape[1], device=features.device)
        if before is not None:
            places = before[:, None] + places
        if self.period:
            places = places % self.period
        if self.stem is None:
            x, positions = features * self.scale, places + 1
        else:
            # Whisper counts its own frames, from 0.
            x, positions = self.stem(features), places * self.stem.step
        return x + position_code(positions, self.width).to(x.dtype)

"""ConvNeXt blocks (Liu et al. 2022, section 2) on frames, with look-ahead."""

import torch
from torch import Tensor, nn

from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise
from echoic.streaming.layers.sequential import StreamingSequential

_EPSILON = 1e-6


class Mixing(nn.Module):
    """Norm, widening, GELU, narrowing and a scale for each channel: (B, F, C) to (B, F, C).

    Args:
        width: C.
        expansion: widening.
        scale: first value of the scales.
        drop: probability in training that a recording passes the block by.
    """

    def __init__(self, width: int, expansion: int, scale: float, drop: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.widen = nn.Linear(width, width * expansion)
        self.activation = nn.GELU()
        self.narrow = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), scale))
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Transform each frame."""
        y = self.scale * self.narrow(self.activation(self.widen(self.norm(x))))
        if not self.training or self.drop == 0.0:
            return y
        kept = torch.rand(len(y), 1, 1, device=y.device) >= self.drop
        return y * kept / (1.0 - self.drop)


def block(
    width: int, kernel_size: int, expansion: int, scale: float, drop: float = 0.0
) -> StreamingResidual:
    """Return a block on (B, C, F) that sees as many frames ahead as behind."""
    side = kernel_size // 2
    depthwise = StreamingConv1d(width, width, kernel_size, groups=width, padding=(side, side))
    mixing = Pointwise(Mixing(width, expansion, scale, drop), width, channels_last=True)
    return StreamingResidual(StreamingSequential(depthwise, mixing))


def channel_norm(width: int) -> Pointwise:
    """Return a layer norm over the channels of each frame of (B, C, F)."""
    return Pointwise(nn.LayerNorm(width, eps=_EPSILON), width, channels_last=True)

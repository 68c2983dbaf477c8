"""Whisper's two convolutions inside a stack of mel frames, for encoders that start from its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.paraformer.config import FrontendConfig

# Mel frames that a convolution sees, and those between two of the second one's places.
_SEEN, _STRIDE = 3, 2


class Stem(nn.Module):
    """Turns each stack of mel frames into one frame of the model's width.

    Whisper has a frame every two mel frames. Here a stack is heard as by Whisper in the middle of
    its frames, at each place that the stack covers, and their mean is taken: what came every 20 ms
    comes every `lfr_n` mel frames. A stack needs no other: streams have nothing to remember.

    Args:
        frontend: of the features; stacks of `lfr_m` log-mel frames.
        dim: width of the output.
    """

    def __init__(self, frontend: FrontendConfig, dim: int) -> None:
        super().__init__()
        self.num_mels, self.stacked, self.dim = frontend.num_mels, frontend.lfr_m, dim
        #: Of Whisper's frames, from one stack to the next.
        self.step = frontend.lfr_n // _STRIDE
        # Convolutions as products: there are a few places only, and arithmetic knows products.
        self.first = nn.Linear(_SEEN * self.num_mels, dim)
        self.second = nn.Linear(_SEEN * dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Turn features (B, T, lfr_m * num_mels) into (B, T, dim)."""
        x = _places(features, self.stacked, self.num_mels, 1)
        x = functional.gelu(self.first(x))
        x = _places(x.flatten(2), x.shape[2], self.dim, _STRIDE)
        return functional.gelu(self.second(x)).mean(2)


def _places(x: Tensor, frames: int, width: int, stride: int) -> Tensor:
    """Return what a convolution sees of frames (B, T, frames * width): (B, T, P, 3 * width)."""
    starts = range(0, frames - _SEEN + 1, stride)
    return torch.stack([x[:, :, i * width : (i + _SEEN) * width] for i in starts], dim=2)

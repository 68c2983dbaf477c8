"""Thirty seconds of padding for the price of a second or two.

Whisper was trained on windows of 30 s, short recordings followed by silence. Cut to their own
length they make it repeat itself; padded, most of the work is spent on silence. But the frames of
that silence are all alike, and differ in their position only. So of every `stride` of them one is
kept, and counts as `stride` frames in each softmax: log(stride) is added to its scores, which is
what that many equal keys would add up to.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class PaddedLayout(NamedTuple):
    """Where each frame of a padded batch comes from.

    Shapes: B windows, N frames kept of the longest one.

    Attributes:
        positions: int64 (B, N), the frame's place in the 30 s.
        sources: int64 (B, N), the frame of the convolutions' output that it is.
        log_counts: float32 (B, N), logarithm of how many frames it stands for; -inf for none.
    """

    positions: Tensor
    sources: Tensor
    log_counts: Tensor


def layout(lengths: Tensor, *, num_positions: int, stride: int) -> PaddedLayout:
    """Lay out windows followed by thinned silence.

    Args:
        lengths: int64 (B,), frames of each window that are kept as they are; the frame after them
            is silent, too, unless the window fills all positions.
        num_positions: frames of a whole window.
        stride: frames of silence that one stands for.
    """
    thinned = -(-(num_positions - lengths) // stride)
    width = int((lengths + thinned).max())
    index = torch.arange(width, device=lengths.device)
    beyond = index - lengths[:, None]  # of the silence, which frame
    start = lengths[:, None] + beyond * stride
    count = (num_positions - start).clamp(max=stride)
    silent = beyond >= 0
    middle = (start + (count - 1) // 2).clamp(0, num_positions - 1)
    log_counts = count.clamp(min=1).float().log()
    return PaddedLayout(
        positions=torch.where(silent, middle, index),
        sources=torch.where(silent, lengths[:, None].clamp(max=num_positions - 1), index),
        log_counts=torch.where(silent, log_counts, 0.0).masked_fill(
            silent & (count < 1), -math.inf
        ),
    )

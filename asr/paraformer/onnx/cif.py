"""Integrate-and-fire in operators that every ONNX runtime has: no loop, no search, no custom op.

S is the running sum of a row's weights in float64. What frame t gives to token i is how far S rises
within [i, i + 1] during that frame; all tokens are one matrix product of these shares with the
frames, for weights above 1, too. It costs N * T numbers a row, which `echoic.cuda_ext.cif` avoids.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from echoic.asr.paraformer.cif_predictor import CifPredictor
from echoic.asr.paraformer.predictor import ONSET
from echoic.asr.paraformer.sanm import length_mask


class Tokens(NamedTuple):
    """What of `Prediction` the rest of the network and its caller need.

    Attributes:
        tokens: (B, N, D), 0 beyond each row's count; N is at least 2, as `torch.export` takes other
            sizes for constants.
        counts: (B,) int64.
        quantity: (B,).
        starts: (B, N) float64 frames.
        ends: (B, N) float64 frames.
    """

    tokens: Tensor
    counts: Tensor
    quantity: Tensor
    starts: Tensor
    ends: Tensor


def find_tokens(predictor: CifPredictor, hidden: Tensor, lengths: Tensor) -> Tokens:
    """Do what the predictor does at inference.

    Args:
        predictor: of a model.
        hidden: (B, T, D), T >= 1.
        lengths: (B,) int64 frames that count.
    """
    weights = predictor.weights(hidden, lengths)
    quantity = weights.sum(1)
    hidden, weights = predictor.with_tail(hidden, weights, lengths)
    before, after = running_sum(weights)
    counts = after[:, -1].floor().long()
    size = cast(int, counts.max().clamp(min=2).item())
    torch._check(size >= 2)  # the exporter cannot see it
    first = torch.arange(size, device=hidden.device, dtype=torch.float64)
    share = risen(before, after, first) * length_mask(counts, size)[:, :, None]
    tokens = share.to(hidden.dtype) @ hidden
    # The tail is not part of the sound.
    ends = torch.minimum(reached(before, after, first + 1), lengths[:, None])
    starts = torch.minimum(reached(before, after, first + ONSET), ends)
    return Tokens(tokens, counts, quantity, starts, ends)


def running_sum(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of weights (B, T) before and after each frame, both (B, T) float64."""
    after = weights.double().cumsum(1)
    return torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], dim=1), after


def risen(before: Tensor, after: Tensor, first: Tensor) -> Tensor:
    """Return (B, N, T): how far the sum rises within [first, first + 1] of (N,) in each frame."""
    levels = first[:, None]
    upper = (after[:, None] - levels).clamp(0, 1)
    return upper - (before[:, None] - levels).clamp(0, 1)


def reached(before: Tensor, after: Tensor, levels: Tensor) -> Tensor:
    """Return the frames (B, N) at which the sum reaches levels (N,); T where it does not.

    Each frame adds how much of it has passed by then: 1 all of those before, a part the one in
    which the level is reached, and 0 those behind.
    """
    rise = (after - before).clamp(min=1e-12)[:, None]
    return ((levels[:, None] - before[:, None]) / rise).clamp(0, 1).sum(2)

"""Which encoder frame each token begins at, from cross-attention.

Some heads of Whisper's decoder look at the sound of the token that comes next. Their weights,
standardised and smoothed, form a picture of tokens over time, and the cheapest monotone path
through it (dynamic time warping) gives a frame per token: the method of OpenAI's word times.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SECONDS_PER_FRAME = 0.02
MEDIAN_WIDTH = 7

_CACHED_FLOATS = 1 << 15


def align(
    weights: Tensor, *, first_row: int, num_tokens: int, num_frames: int | None = None
) -> NDArray[np.int64]:
    """Return the encoder frame (20 ms) at which each token begins, and where the last one ends.

    Args:
        weights: cross-attention after softmax, (heads, tokens, frames): a row for every token the
            decoder was fed, from the start of transcript to the end of text, all of which take part
            in the standardisation.
        first_row: the row that predicts the first text token, that is, the last of the prompt.
        num_tokens: number of text tokens; their rows follow `first_row`.
        num_frames: frames that hold sound; attention beyond them is taken out. None means all.

    Returns:
        int64 (num_tokens + 1,), never decreasing; the last entry is where the end of text begins.

    Raises:
        ValueError: the weights do not have that many rows, or no frames.
    """
    if weights.dim() != 3 or not 0 <= first_row <= weights.shape[1] - num_tokens - 1:
        raise ValueError(
            f"weights {tuple(weights.shape)} hold no {num_tokens} + 1 rows from {first_row} on; "
            "expected (heads, tokens, frames)"
        )
    matrix = attention_matrix(weights[:, :, :num_frames])
    rows = matrix[first_row : first_row + num_tokens + 1]
    return warp(-rows.double().cpu().numpy())


def attention_matrix(weights: Tensor, width: int = MEDIAN_WIDTH) -> Tensor:
    """Merge heads into one picture, float32 (tokens, frames), bright where a token is spoken.

    Every head's weights are renormalised over the given frames, standardised over the tokens (to
    remove frames that every token looks at) and median-filtered over time; then heads are averaged.

    Args:
        weights: attention after softmax, (heads, tokens, frames).
        width: of the median filter, in frames; odd.

    Raises:
        ValueError: no heads or no frames.
    """
    if not weights.numel():
        raise ValueError(f"weights {tuple(weights.shape)} are empty")
    weights = weights.float()
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-30)
    std, mean = torch.std_mean(weights, dim=1, keepdim=True, unbiased=False)
    return median_filter((weights - mean) / std.clamp(min=1e-30), width).mean(dim=0)


def median_filter(x: Tensor, width: int) -> Tensor:
    """Return the running median over the last dimension, with the ends mirrored.

    Args:
        x: (..., frames). Signals of at most half a width are returned as they are.
        width: odd number of frames.

    Raises:
        ValueError: an even width.
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"the width of a median filter must be odd, not {width}")
    half = width // 2
    if x.shape[-1] <= half or half == 0:
        return x
    rows = F.pad(x.reshape(1, -1, x.shape[-1]), (half, half), mode="reflect")[0]
    # A part at a time that stays in the cache is three times as fast as all at once.
    parts = rows.split(max(1, _CACHED_FLOATS // rows.shape[-1]))
    medians = [_median([p[:, i : i + x.shape[-1]] for i in range(width)]) for p in parts]
    return torch.cat(medians).view(x.shape)


def _median(values: list[Tensor]) -> Tensor:
    """The middle of an odd number of tensors, elementwise.

    Of more than half of the values neither the smallest nor the largest can be the median of all:
    drop both, take in another value, and go on.
    """
    size = len(values) // 2 + 2
    pool, rest = values[:size], values[size:]
    while len(pool) > 1:
        for i in range(1, len(pool)):
            pool[0], pool[i] = torch.minimum(pool[0], pool[i]), torch.maximum(pool[0], pool[i])
        for i in range(1, len(pool) - 1):
            pool[i], pool[-1] = torch.minimum(pool[i], pool[-1]), torch.maximum(pool[i], pool[-1])
        pool = pool[1:-1] + rest[:1]
        rest = rest[1:]
    return pool[0]


def warp(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the column at which the cheapest monotone path enters each row.

    Dynamic time warping with the steps right, down and diagonal from the first to the last cell
    (Sakoe & Chiba 1978), a whole row at a time: inside a row the path runs right from where it
    entered, so with S the row's running sum the cost of reaching column j is S[j] plus the running
    minimum over entries k of (cost above k) - S[k-1].

    Args:
        cost: finite, (rows, columns).

    Returns:
        int64 (rows,), never decreasing and beginning with 0.
    """
    rows, columns = cost.shape
    entered = np.zeros((rows, columns), dtype=np.int32)
    straight = np.zeros((rows, columns), dtype=bool)
    reached = np.cumsum(cost[0])
    diagonal = np.empty(columns)
    for i in range(1, rows):
        diagonal[0], diagonal[1:] = np.inf, reached[:-1]
        straight[i] = reached < diagonal
        sums = np.cumsum(cost[i])
        entry = np.minimum(reached, diagonal) - (sums - cost[i])
        best = np.minimum.accumulate(entry)
        entered[i, 1:] = np.where(entry[1:] < best[:-1], np.arange(1, columns), 0)
        np.maximum.accumulate(entered[i], out=entered[i])
        reached = sums + best
    starts = np.zeros(rows, dtype=np.int64)
    column = columns - 1
    for i in range(rows - 1, 0, -1):
        starts[i] = entered[i, column]
        column = starts[i] if straight[i, starts[i]] else starts[i] - 1
    return starts

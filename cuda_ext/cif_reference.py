"""Continuous integrate-and-fire in torch: the definition, and the fallback of the kernels.

S is the running sum of a row's alphas, in float64. Token k, counted from 0, covers S from k to
k + 1, and frame t the stretch that its alpha added; the length of what both cover is the frame's
weight in the token. A frame may lie in any number of tokens. Where counts are wanted, the last
token has no upper end. Tokens are made block by block, of the frames that touch the block.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_TOKENS = 64
MOST_ALPHA = 2.0**31
# Kernels say the same words: cif.py makes one error of both.
BAD_ALPHA = "alphas hold a value that is negative, not finite or above 2^31"
BAD_LENGTH = "a length lies outside the frames"
BAD_COUNT = "a count of tokens lies outside its range"
BAD_WEIGHT = "a carried weight lies outside 0 <= weight < 1"


class Spans(NamedTuple):
    """Where frames lie on the axis of tokens.

    Attributes:
        valid: (B, T), False behind a row's length.
        before: (B, T) float64, S before each frame.
        after: (B, T) float64, S after it.
        total: (B,) float64, S after all frames.
    """

    valid: Tensor
    before: Tensor
    after: Tensor
    total: Tensor


class Block(NamedTuple):
    """A stretch of tokens, the stretch of frames that touch it, and what they weigh in it.

    Attributes:
        tokens: which tokens.
        frames: which frames.
        weights: (B, tokens, frames) float64.
    """

    tokens: slice
    frames: slice
    weights: Tensor


def spans(alphas: Tensor, lengths: Tensor | None, weight: Tensor | None = None) -> Spans:
    """Add up alphas (B, T) float64 from `weight` (B,) or 0 on.

    Raises:
        ValueError: an alpha that no sum can have, a length or a weight outside its range.
    """
    batch, frames = alphas.shape
    steps = torch.arange(frames, device=alphas.device)
    if lengths is None:
        valid = torch.ones_like(alphas, dtype=torch.bool)
    else:
        _check_range(lengths, 0, frames, BAD_LENGTH)
        valid = steps < lengths[:, None]
    good = (alphas >= 0) & (alphas <= MOST_ALPHA) | ~valid  # NaN is neither
    if not good.all():
        row, frame = (~good).nonzero()[0].tolist()
        raise ValueError(f"{BAD_ALPHA}: {float(alphas[row, frame])} at row {row}, frame {frame}")
    start = alphas.new_zeros(batch) if weight is None else weight
    if not ((start >= 0) & (start < 1)).all():
        raise ValueError(f"{BAD_WEIGHT}: pass on what the last step returned")
    # Float64 holds sums of float32 exactly as long as no alpha is below 2^-15 or so.
    sums = torch.cat([start[:, None], alphas.where(valid, 0)], 1).cumsum(1)
    return Spans(valid, sums[:, :-1], sums[:, 1:].contiguous(), sums[:, -1])


def counts_of(total: Tensor, counts: Tensor | None, max_tokens: int | None) -> Tensor:
    """Return how many tokens each row has (B,) int64: what is wanted, or the whole part of S.

    Raises:
        ValueError: a negative count, or one above `max_tokens`.
    """
    found = total.floor().long() if counts is None else counts.clone()
    _check_range(found, 0, max_tokens, BAD_COUNT)
    return found


def tokens(
    hidden: Tensor, where: Spans, counts: Tensor, open_ended: bool, size: int
) -> tuple[Tensor, Tensor]:
    """Return tokens (B, size, D) in the dtype that is computed in, and fires (B, size) float64."""
    total = hidden.new_zeros((hidden.shape[0], size, hidden.shape[2]), dtype=computed_in(hidden))
    for block in _blocks(where, counts, open_ended):
        seen = _frames(hidden, where, block)
        total[:, block.tokens] = _product(block.weights.to(seen.dtype), seen)
    return total, _fires(where, counts, size)


def gradients(
    grad: Tensor, hidden: Tensor, where: Spans, counts: Tensor, open_ended: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of hidden (B, T, D) and alphas (B, T) float64 from that of tokens.

    More alpha gives its frame more of the token in which S then stands, and shifts all later frames
    along: each loses at its start and gains at its end, which cancels out within one token.
    """
    kept = torch.arange(grad.shape[1], device=grad.device) < counts[:, None]
    grad = grad.to(computed_in(hidden)).where(kept[:, :, None], 0)
    of_hidden = hidden.new_zeros(hidden.shape, dtype=grad.dtype)
    starts, ends = _reach(where, counts, open_ended)
    at_start, at_end = torch.zeros_like(where.before), torch.zeros_like(where.before)
    for block in _blocks(where, counts, open_ended):
        some = grad[:, block.tokens]
        of_hidden[:, block.frames] += _product(block.weights.to(grad.dtype).transpose(1, 2), some)
        products = _product(some, _frames(hidden, where, block).transpose(1, 2))
        for reached, sums in ((starts, at_start), (ends, at_end)):
            sums[:, block.frames] += _at(products, reached[:, block.frames] - block.tokens.start)
    jumps = at_end - at_start
    later = jumps.flip(1).cumsum(1).flip(1) - jumps
    return of_hidden.to(hidden.dtype), (at_end + later).where(where.valid, 0)


def computed_in(hidden: Tensor) -> torch.dtype:
    """Return float64 for float64, and float32 for all else."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def _reach(where: Spans, counts: Tensor, open_ended: bool) -> tuple[Tensor, Tensor]:
    """Return in which token each frame starts and ends (B, T); `counts` is none that is kept."""
    last = (counts - int(open_ended)).clamp(min=0)[:, None]
    starts = where.before.floor().long().minimum(last)
    return starts, where.after.floor().long().minimum(last)


def _blocks(where: Spans, counts: Tensor, open_ended: bool) -> Iterator[Block]:
    starts, ends = _reach(where, counts, open_ended)
    for first in range(0, int(counts.max()) if counts.numel() else 0, BLOCK_TOKENS):
        last = min(first + BLOCK_TOKENS, int(counts.max()))
        touched = ((ends >= first) & (starts < last)).any(0).nonzero()[:, 0]
        if not len(touched):
            continue
        frames = slice(int(touched[0]), int(touched[-1]) + 1)
        lower = torch.arange(first, last, device=counts.device)
        upper = (lower + 1).to(where.after).expand(len(counts), -1)
        if open_ended:
            upper = upper.where(lower != counts[:, None] - 1, torch.inf)
        end = torch.minimum(where.after[:, None, frames], upper[:, :, None])
        start = torch.maximum(where.before[:, None, frames], lower[:, None])
        weights = (end - start).clamp(min=0) * (lower < counts[:, None])[:, :, None]
        yield Block(slice(first, last), frames, weights)


def _frames(hidden: Tensor, where: Spans, block: Block) -> Tensor:
    # What lies behind a row's length may be anything, NaN too.
    there = where.valid[:, block.frames, None]
    return hidden[:, block.frames].to(computed_in(hidden)).where(there, 0)


def _product(one: Tensor, other: Tensor) -> Tensor:
    with torch.autocast(one.device.type, enabled=False):
        return one @ other


def _at(products: Tensor, token: Tensor) -> Tensor:
    """Take the token (B, F) of each frame from (B, K, F); 0 where it is not among these."""
    inside = (token >= 0) & (token < products.shape[1])
    taken = products.gather(1, token.where(inside, 0)[:, None])[:, 0]
    return taken.where(inside, 0).double()


def _fires(where: Spans, counts: Tensor, size: int) -> Tensor:
    """Return when S reaches the end of each token; of one that never fills, when S ends."""
    token = torch.arange(size, device=counts.device)
    if where.after.shape[1] == 0 or size == 0:
        return where.after.new_zeros((len(counts), size))
    target = torch.minimum((token + 1).to(where.total), where.total[:, None])
    frame = torch.searchsorted(where.after, target)
    before, after = where.before.gather(1, frame), where.after.gather(1, frame)
    inside = ((target - before) / (after - before)).clamp(max=1)
    time = (frame + inside).where(after > before, 0)
    return time.where(token < counts[:, None], 0)


def _check_range(values: Tensor, least: int, most: int | None, words: str) -> None:
    low, high = (int(values.min()), int(values.max())) if values.numel() else (least, least)
    if low < least or (most is not None and high > most):
        limit = f"{least}.." if most is None else f"{least}..{most}"
        raise ValueError(f"{words}: expected {limit}, got {low if low < least else high}")

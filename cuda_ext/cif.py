"""Continuous integrate-and-fire: frames with weights in, one vector a token out, fused.

S is the running sum of the alphas of a row, in float64. Token k, counted from 0, is the sum of
hidden frames weighted by how much of S between k and k + 1 each of them added. An alpha above 1 is
fine: its frame then fills whole tokens. The threshold is 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from echoic.cuda_ext import cif_registry as registry
from echoic.cuda_ext import library
from echoic.cuda_ext.cif_reference import (
    BAD_ALPHA,
    BAD_COUNT,
    BAD_LENGTH,
    BAD_WEIGHT,
    computed_in,
)

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Cif(NamedTuple):
    """Tokens of a batch of rows.

    Attributes:
        tokens: (B, N, D) in the dtype of the frames; zeros behind a row's count.
        counts: (B,) int64, tokens of each row.
        fires: (B, N) float64, frames from the start until a token is complete, linear within a
            frame: 1.0 is the end of the first. Where the sum never gets there, it is when the sum
            stops growing. Zeros behind a row's count.
    """

    tokens: Tensor
    counts: Tensor
    fires: Tensor


def cif(
    hidden: Tensor,
    alphas: Tensor,
    lengths: Tensor | None = None,
    counts: Tensor | None = None,
    *,
    max_tokens: int | None = None,
) -> Cif:
    """Integrate frames into tokens.

    Differentiable in `hidden` and `alphas`, through `tokens` alone. Half precision is computed in
    float32 and rounded once. A row is the same alone and in a batch; frames behind its length are
    not read. The tail of inference (one more frame of zeros) is the caller's to append.

    Args:
        hidden: (B, T, D).
        alphas: (B, T), not negative.
        lengths: (B,) valid frames of each row; all where None.
        counts: (B,) how many tokens each row is to have. The last one takes all that is left, so
            that rounding cannot lose it; those that the sum never reaches are zeros. Where None,
            a row has as many as its sum holds, and what is left over is dropped.
        max_tokens: N, where it must not depend on the data, as in one compiled graph.

    Raises:
        ValueError: an alpha that is negative or not finite, a length, a count or a shape that does
            not fit, more tokens than `max_tokens`.
    """
    _check_frames(hidden, alphas)
    lengths = _of_rows(lengths, hidden, "lengths")
    counts = _of_rows(counts, hidden, "counts")
    if max_tokens is not None and max_tokens < 0:
        raise ValueError(f"max_tokens must not be negative: got {max_tokens}")
    library.load(hidden)
    try:
        return Cif(*registry.cif(hidden, alphas.double(), lengths, counts, max_tokens))
    except RuntimeError as error:
        raise _named(error) from error


def cif_step(
    carry_weight: Tensor,
    carry: Tensor,
    hidden: Tensor,
    alphas: Tensor,
    lengths: Tensor | None = None,
) -> tuple[Cif, Tensor, Tensor]:
    """Integrate the next frames of a stream; steps over any chunks give what one call gives.

    Nothing is differentiable, and nothing that was given is changed.

    Args:
        carry_weight: (B,) float64, what the last step returned; zeros at the start.
        carry: (B, D), what the last step returned; zeros at the start.
        hidden: (B, T, D), any number of frames.
        alphas: (B, T), not negative.
        lengths: (B,) valid frames of each row; all where None.

    Returns:
        The tokens that are complete, their `fires` counted from the start of this chunk; the weight
        (B,) float64 and the weighted sum (B, D) float32 (float64 for float64) of what is left over.

    Raises:
        ValueError: as `cif`, and a weight that is not from 0 to below 1.
    """
    _check_frames(hidden, alphas)
    batch, _, width = hidden.shape
    if carry_weight.shape != (batch,) or carry.shape != (batch, width):
        raise ValueError(
            f"carry_weight must be ({batch},) and carry ({batch}, {width}): "
            f"got {tuple(carry_weight.shape)} and {tuple(carry.shape)}"
        )
    lengths = _of_rows(lengths, hidden, "lengths")
    weight = carry_weight.detach().to(hidden.device, torch.float64)
    rest = carry.detach().to(hidden.device, computed_in(hidden))
    library.load(hidden)
    try:
        tokens, counts, fires, weight, rest = registry.cif_step(
            hidden.detach(), alphas.detach().double(), lengths, weight, rest
        )
    except RuntimeError as error:
        raise _named(error) from error
    return Cif(tokens, counts, fires), weight, rest


def _check_frames(hidden: Tensor, alphas: Tensor) -> None:
    if hidden.dim() != 3 or alphas.shape != hidden.shape[:2]:
        raise ValueError(
            "hidden must be (B, T, D) and alphas (B, T): "
            f"got {tuple(hidden.shape)} and {tuple(alphas.shape)}"
        )
    if hidden.dtype not in FLOATS or not alphas.is_floating_point():
        raise ValueError(f"hidden and alphas must be float: got {hidden.dtype} and {alphas.dtype}")
    if hidden.device != alphas.device:
        raise ValueError(f"hidden is on {hidden.device}, alphas on {alphas.device}: move one")


def _of_rows(values: Tensor | None, hidden: Tensor, name: str) -> Tensor | None:
    if values is None:
        return None
    if values.shape != hidden.shape[:1] or values.is_floating_point():
        raise ValueError(
            f"{name} must be ({hidden.shape[0]},) whole numbers: "
            f"got {tuple(values.shape)} {values.dtype}"
        )
    return values.to(hidden.device, torch.int64)


def _named(error: RuntimeError) -> Exception:
    """Turn what a kernel found in its input into the error that the reference raises."""
    text = str(error)
    for words in (BAD_ALPHA, BAD_COUNT, BAD_LENGTH, BAD_WEIGHT):
        if words in text:
            return ValueError(text[text.index(words) :].splitlines()[0])
    return error

"""Rows of floats as bytes, each row with a step of its own: what an 8-bit product reads.

A row's bytes depend on that row alone, so that a frame is the same alone and in any batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from echoic.cuda_ext import int8_rows_reference, library
from echoic.cuda_ext import int8_rows_registry as registry

#: Of a peak from zero, in bytes whose zero is in the middle, and in bytes from zero up.
LEVELS, RECTIFIED_LEVELS = 127, 255
#: The same in seven bits, for products that add pairs in 16.
NARROW_LEVELS, NARROW_RECTIFIED_LEVELS = 63, 127


class ByteRows(NamedTuple):
    """x ≈ (bytes - zero) * steps.

    Attributes:
        bytes: (N, D) uint8.
        steps: (N,) float32; not finite where a row was not.
        zero: the byte of 0.
    """

    bytes: Tensor
    steps: Tensor
    zero: int


def rows_to_bytes(x: Tensor, *, narrow: bool = False) -> ByteRows:
    """Round rows to the nearest of 255 values between their peaks, ties to even.

    Args:
        x: (N, D), taken in float32.
        narrow: of 127 values.

    Raises:
        ValueError: another shape.
    """
    return _rounded(x, narrow, halves=False)


def rows_to_halves(x: Tensor, *, narrow: bool = False) -> ByteRows:
    """Round rows to some 16 bits, as the sum of two of bytes.

    Args:
        x: (N, D), taken in float32.
        narrow: 14 bits.

    Returns:
        2 N rows: those of `rows_to_bytes`, then as many of what these leave.

    Raises:
        ValueError: another shape.
    """
    return _rounded(x, narrow, halves=True)


def rectified_to_bytes(
    x: Tensor, factor: Tensor, bias: Tensor, *, narrow: bool = False
) -> ByteRows:
    """Return max(0, x * factor + bias) as bytes, in one pass: between two 8-bit layers.

    Args:
        x: (N, D), what a product of bytes gave.
        factor: (N,), the steps of the rows that went in.
        bias: (D,).
        narrow: 128 values, not 256.

    Raises:
        ValueError: shapes that do not fit.
    """
    if x.dim() != 2 or factor.shape != x.shape[:1] or bias.shape != x.shape[1:]:
        raise ValueError(
            f"rows (N, D), factor (N,) and bias (D,) expected: got {tuple(x.shape)}, "
            f"{tuple(factor.shape)} and {tuple(bias.shape)}"
        )
    levels = NARROW_RECTIFIED_LEVELS if narrow else RECTIFIED_LEVELS
    return ByteRows(*_compute(x.float(), factor.float(), bias.float(), True, levels, False), 0)


def _rounded(x: Tensor, narrow: bool, halves: bool) -> ByteRows:
    if x.dim() != 2:
        raise ValueError(f"rows must be (N, D): got {tuple(x.shape)}")
    levels = NARROW_LEVELS if narrow else LEVELS
    return ByteRows(*_compute(x.float(), None, None, False, levels, halves), levels + 1)


def _compute(
    x: Tensor,
    factor: Tensor | None,
    bias: Tensor | None,
    rectify: bool,
    levels: int,
    halves: bool,
) -> tuple[Tensor, Tensor]:
    # Not worth a build: torch's own operations take some per cent of the product's time.
    if not torch.compiler.is_compiling() and not library.ready(
        "rows_to_bytes", x.device.type, build=False
    ):
        return int8_rows_reference.rows_to_bytes(x, factor, bias, rectify, levels, halves)
    return registry.rows_to_bytes(x, factor, bias, rectify, levels, halves)

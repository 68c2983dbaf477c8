"""The op of 8-bit rows under `torch.ops.echoic`: schema and form. As in registry.py."""

import torch
from torch import Tensor

from echoic.cuda_ext import int8_rows_reference as reference
from echoic.cuda_ext.registry import op


@op
def rows_to_bytes(
    x: Tensor, factor: Tensor | None, bias: Tensor | None, rectify: bool, levels: int, halves: bool
) -> tuple[Tensor, Tensor]:
    """Return bytes (N, D) uint8 of x (N, D), and the step (N,) of each row; 2 N for `halves`."""
    return reference.rows_to_bytes(x, factor, bias, rectify, levels, halves)


@rows_to_bytes.register_fake
def _(
    x: Tensor, factor: Tensor | None, bias: Tensor | None, rectify: bool, levels: int, halves: bool
) -> tuple[Tensor, Tensor]:
    rows = x.shape[0] * (2 if halves else 1)
    return x.new_empty((rows, x.shape[1]), dtype=torch.uint8), x.new_empty((rows,))

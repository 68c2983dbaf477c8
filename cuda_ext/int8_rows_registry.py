"""The op of 8-bit rows under `torch.ops.echoic`: schema and form. As in registry.py."""

import torch
from torch import Tensor

from echoic.cuda_ext import int8_rows_reference as reference
from echoic.cuda_ext.registry import op


@op
def rows_to_bytes(
    x: Tensor, factor: Tensor | None, bias: Tensor | None, rectify: bool, levels: int
) -> tuple[Tensor, Tensor]:
    """Return bytes (N, D) uint8 of x (N, D), and the step (N,) of each row."""
    return reference.rows_to_bytes(x, factor, bias, rectify, levels)


@rows_to_bytes.register_fake
def _(
    x: Tensor, factor: Tensor | None, bias: Tensor | None, rectify: bool, levels: int
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape, dtype=torch.uint8), x.new_empty((x.shape[0],))

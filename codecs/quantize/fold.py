"""Linear maps around a codebook, folded into it: narrower vectors to search, ready ones to look up.

With z = W x + b in front of the search, z·e − |e|²/2 = x·(Wᵀe) − (|e|²/2 − b·e): the same codes win
in front of the map, over the book Wᵀe with offsets of its own.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Rows of a book in float64 at once: a book of 32,768 x 3,584 would take 940 MB.
BLOCK_VALUES = 1 << 22


@torch.no_grad()
def fold_in_projection(
    weight: Tensor, bias: Tensor | None, codebook: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the book (K, D_in) and offsets (K,) that find the same codes before the projection.

    For `echoic.cuda_ext.ops.nearest_code`; worth it where D_in < D. Made in float64, rounded once.

    Args:
        weight: (D, D_in) of the linear layer that makes the vectors to be searched.
        bias: (D,) or None.
        codebook: (K, D).

    Raises:
        ValueError: widths that do not fit each other.
    """
    _check(weight.shape[0], bias, weight.shape[0], codebook)
    books, offsets = [], []
    map_back = weight.double()
    for rows in _blocks(codebook):
        books.append((rows @ map_back).to(codebook.dtype))
        taken = rows.square().sum(1) / 2
        offsets.append(taken if bias is None else taken - rows @ bias.double())
    return torch.cat(books), torch.cat(offsets).to(codebook.dtype)


@torch.no_grad()
def fold_out_projection(codebook: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the table (K, D_out) of all codes after a linear layer: decoding is a lookup.

    Args:
        codebook: (K, D).
        weight: (D_out, D).
        bias: (D_out,) or None.

    Raises:
        ValueError: widths that do not fit each other.
    """
    _check(weight.shape[1], bias, weight.shape[0], codebook)
    forward = weight.double().T
    tables = []
    for rows in _blocks(codebook):
        mapped = rows @ forward
        tables.append((mapped if bias is None else mapped + bias.double()).to(codebook.dtype))
    return torch.cat(tables)


def _blocks(codebook: Tensor) -> Iterator[Tensor]:
    for rows in codebook.split(max(1, BLOCK_VALUES // codebook.shape[1])):
        yield rows.double()


def _check(width: int, bias: Tensor | None, bias_width: int, codebook: Tensor) -> None:
    if codebook.dim() != 2 or codebook.shape[1] != width:
        raise ValueError(f"the codebook must be (K, {width}): got {tuple(codebook.shape)}")
    if bias is not None and bias.shape != (bias_width,):
        raise ValueError(f"the bias must be ({bias_width},): got {tuple(bias.shape)}")

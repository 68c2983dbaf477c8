"""Rows of many streams, laid end to end: what all of them pass through is one product.

Streams differ in how many frames or tokens they bring, so nothing is padded: layers that work row
by row are given all rows, and attention each stream's own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Lay (B, N, C) of each stream end to end: (sum of B * N, C)."""
    flat = [part.flatten(0, 1) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def parted(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Undo `joined`: views (B, N, C') of each stream's rows, by the shapes of `like`."""
    sizes = [part.shape[0] * part.shape[1] for part in like]
    views = rows.split(sizes)
    return [v.unflatten(0, part.shape[:2]) for v, part in zip(views, like, strict=True)]

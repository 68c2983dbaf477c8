"""Rows of many streams, laid end to end: what all of them pass through is one product.

Streams differ in how many frames or tokens they bring, so nothing is padded: layers that work row
by row are given all rows, and attention each stream's own. Shapes: n rows of all streams, R rows of
hypotheses or signals of one stream with N places each, C channels, H heads of D channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Lay (R, N, C) of each stream end to end: (n, C)."""
    flat = [part.flatten(0, 1) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def parted(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Undo `joined`: views (R, N, C') of each stream's rows, by the shapes of `like`."""
    sizes = [part.shape[0] * part.shape[1] for part in like]
    views = rows.split(sizes)
    return [v.unflatten(0, part.shape[:2]) for v, part in zip(views, like, strict=True)]


def parted_heads(rows: Tensor, like: Sequence[Tensor], num_heads: int) -> list[Tensor]:
    """Return views (R, H, N, D) of each stream's rows of (n, C), by the shapes of `like`."""
    heads = rows.unflatten(1, (num_heads, -1)).transpose(0, 1)
    views = heads.split([part.shape[0] * part.shape[1] for part in like], dim=1)
    return [
        view[None] if part.shape[0] == 1 else view.unflatten(1, (part.shape[0], -1)).transpose(0, 1)
        for view, part in zip(views, like, strict=True)
    ]


def joined_heads(parts: Sequence[Tensor]) -> Tensor:
    """Undo `parted_heads`: (R, H, N, D) of each stream become (n, C)."""
    flat = [part[0] if part.shape[0] == 1 else part.transpose(0, 1).flatten(1, 2) for part in parts]
    heads = flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)
    return heads.transpose(0, 1).flatten(1)

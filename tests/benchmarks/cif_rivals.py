"""Integrate-and-fire as others write it; each takes hidden (B, T, D) and alphas (B, T) up to 1."""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.cuda_ext.cif import cif

Fire = Callable[[Tensor, Tensor], Tensor]


class System(NamedTuple):
    """One way, and the largest error that is put down to its roundings."""

    name: str
    fire: Fire
    tolerance: float = 1e-5


def echoic(hidden: Tensor, alphas: Tensor) -> Tensor:
    """Return the tokens of our op."""
    return cif(hidden, alphas).tokens


def two_slots(hidden: Tensor, alphas: Tensor) -> Tensor:
    """Add each frame to the token that it starts in and to the next one."""
    after = alphas.double().cumsum(1)
    before = after - alphas.double()
    first, over = before.floor(), (after - after.floor()).float()
    second = torch.where(after.floor() > first, over, torch.zeros_like(over))
    size = int(after[:, -1].floor().max())
    slots = first.long()[:, :, None].expand_as(hidden)
    tokens = hidden.new_zeros(hidden.shape[0], size + 2, hidden.shape[2])
    tokens = tokens.scatter_add(1, slots, (alphas - second)[:, :, None] * hidden)
    tokens = tokens.scatter_add(1, slots + 1, second[:, :, None] * hidden)
    return _cut(tokens, after)


def dense(hidden: Tensor, alphas: Tensor) -> Tensor:
    """Multiply by a matrix of all weights."""
    after = alphas.double().cumsum(1)
    before = after - alphas.double()
    token = torch.arange(int(after[:, -1].floor().max()))[:, None]
    end = torch.minimum(after[:, None], (token + 1).double())
    weights = (end - torch.maximum(before[:, None], token.double())).clamp(min=0)
    return _cut(weights.float() @ hidden, after)


def _cut(tokens: Tensor, after: Tensor) -> Tensor:
    """Zero what lies behind each row's count, and drop what lies behind all."""
    counts = after[:, -1].floor()
    kept = torch.arange(int(counts.max())) < counts[:, None]
    return tokens[:, : kept.shape[1]] * kept[:, :, None]


def funasr(hidden: Tensor, alphas: Tensor) -> Tensor:
    """Return the tokens of FunASR's vectorised path."""
    from funasr.models.paraformer.cif_predictor import (  # pyright: ignore[reportMissingImports]
        cif_v1,
    )

    return cif_v1(hidden, alphas, 1.0)[0]


def systems() -> list[System]:
    """Return all that are installed, ours first."""
    ways = [System("echoic", echoic), System("two slots", two_slots), System("dense", dense)]
    if importlib.util.find_spec("funasr") is not None:
        ways.append(System("funasr cif_v1", funasr, 1e-2))  # differences of sums over all frames
    return ways

"""Integrate-and-fire as it is defined, one frame after the other, in float64."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Row(NamedTuple):
    """The tokens of one row (n, D), and when each is complete."""

    tokens: Tensor
    fires: list[float]


def integrate(hidden: Tensor, alphas: Tensor, count: int | None = None) -> Row:
    """Take hidden (T, D), alphas (T,) and how many tokens; as many as the sum holds for None."""
    frames, steps = hidden.detach().double(), alphas.detach().double().tolist()
    size = math.floor(math.fsum(steps)) if count is None else count
    tokens = torch.zeros(size, hidden.shape[1], dtype=torch.float64)
    lower = torch.arange(size, dtype=torch.float64)
    upper = lower + 1
    if count is not None:
        upper[-1:] = math.inf
    fires: list[float] = []
    before, end = 0.0, 0.0
    for t, alpha in enumerate(steps):
        after = before + alpha
        weights = (upper.clamp(max=after) - lower.clamp(min=before)).clamp(min=0)
        tokens += weights[:, None] * frames[t]
        while len(fires) < min(size, math.floor(after)):
            fires.append(t + (len(fires) + 1 - before) / alpha)
        end = t + 1.0 if after > before else end
        before = after
    return Row(tokens, fires + [end] * (size - len(fires)))


def draw(batch: int, frames: int, width: int, scale: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Frames (B, T, D), and alphas (B, T) from 0 to `scale`, a fifth of them 0."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, frames, width, generator=generator)
    alphas = scale * torch.rand(batch, frames, generator=generator)
    return hidden, alphas * (torch.rand(batch, frames, generator=generator) > 0.2)

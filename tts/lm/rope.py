"""Rotary positions (Su et al. 2021, section 3.4.2), and how models made them reach farther."""

import math

import torch
from torch import Tensor

from echoic.tts.lm.config import RopeConfig


def frequencies(config: RopeConfig, head_size: int) -> Tensor:
    """Return by how much each pair of channels turns in a position, (D / 2,) float64 radians."""
    exponents = torch.arange(0, head_size, 2, dtype=torch.float64) / head_size
    turns = config.base**-exponents
    if config.kind == "linear":
        return turns / config.factor
    if config.kind == "llama3":
        waves = config.original * turns / (2 * math.pi)  # that fit into the first training's length
        share = (waves - config.low_factor) / (config.high_factor - config.low_factor)
        share = share.clamp(0, 1)
        return share * turns + (1 - share) * turns / config.factor
    return turns


def turns(positions: Tensor, frequencies: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (B, 1, T, D / 2) of positions (B, T)."""
    angles = positions[:, None, :, None].double() * frequencies.to(positions.device)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def turn(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn queries or keys (B, H, T, D), whose pairs lie half a head apart."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosines - b * sines, b * cosines + a * sines], dim=-1)

"""Rotary positions (Su et al. 2021, section 3.4.2): queries and keys turned by their position.

Shapes: B batch, H heads, T frames, D channels of a head.
"""

import torch
from torch import Tensor


def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Turn channel pairs (d, d + D / 2) of queries or keys by position * base ** (-2 d / D).

    Pairs lie half a head apart, as in GPT-NeoX, Llama and Mimi; not side by side.

    Args:
        x: (B, H, T, D), D even.
        positions: int64 (B, T).
        base: wavelengths grow from 2 pi frames to nearly 2 pi * base.

    Returns:
        (B, H, T, D) in the dtype of `x`.
    """
    half = x.shape[3] // 2
    # float64: an hour at 50 Hz is position 180 000, whose angle in float32 is off by 0.01.
    steps = torch.arange(half, device=x.device, dtype=torch.float64) / half
    angles = positions[:, None, :, None] * base**-steps
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

"""Keys and values of the past, as a value that grows by appending and may be bounded.

Shapes: B batch, H heads, S frames of the past, D channels of a head.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class KeyValues(NamedTuple):
    """What attention remembers: `keys` and `values`, each (B, H, S, D)."""

    keys: Tensor
    values: Tensor

    @property
    def length(self) -> int:
        """S, frames of the past."""
        return self.keys.shape[2]

    def append(self, keys: Tensor, values: Tensor) -> "KeyValues":
        """Return the past with new frames (B, H, N, D) behind it; nothing is changed in place."""
        if self.length == 0:
            return KeyValues(keys, values)
        return KeyValues(
            torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        )

    def last(self, frames: int) -> "KeyValues":
        """Return the newest `frames` frames, in memory of their own."""
        if frames >= self.length:
            return self
        start = self.length - frames
        return KeyValues(self.keys[:, :, start:].clone(), self.values[:, :, start:].clone())

    def first(self, frames: int) -> "KeyValues":
        """Return the oldest `frames` frames, in memory of their own."""
        if frames >= self.length:
            return self
        return KeyValues(self.keys[:, :, :frames].clone(), self.values[:, :, :frames].clone())


def no_key_values(
    batch_size: int,
    num_heads: int,
    width: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> KeyValues:
    """Return the past of a stream that has heard nothing; `width` is D, channels of a head."""
    empty = torch.empty(batch_size, num_heads, 0, width, device=device, dtype=dtype)
    return KeyValues(empty, empty)

"""Keys and values of a batch of decodings, held in tensors of fixed size.

Shapes: L decoder layers, B windows of sound, G hypotheses of each window (1 for greedy search, the
beam's width or the number of samples otherwise), R = B * G rows, H heads, S tokens at most,
T encoder frames, D channels of a head.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(slots=True)
class DecoderCache:
    """What the decoder remembers; the steps of a search write into it.

    Attributes:
        self_keys: (L, R, H, S, D).
        self_values: (L, R, H, S, D).
        cross_keys: (L, B, H, T, D), computed once from the encoder's output.
        cross_values: (L, B, H, T, D).
        cross_bias: (B, 1, 1, T), added to the scores of the sound: logarithm of how many frames
            each stands for, -inf for padding; None when all are single.
        length: tokens written so far, the same for every row.
    """

    self_keys: Tensor
    self_values: Tensor
    cross_keys: Tensor
    cross_values: Tensor
    cross_bias: Tensor | None
    length: int = 0

    @property
    def num_windows(self) -> int:
        """B, the number of windows."""
        return self.cross_keys.shape[1]

    @property
    def group_size(self) -> int:
        """G, hypotheses of each window."""
        return self.self_keys.shape[1] // self.num_windows

    def keep_windows(self, windows: Tensor) -> "DecoderCache":
        """Return the cache of some of the windows, with all their hypotheses.

        Args:
            windows: int64 indices.
        """
        rows = self._rows_of(windows)
        return replace(
            self,
            self_keys=self._used(self.self_keys, rows),
            self_values=self._used(self.self_values, rows),
            cross_keys=self.cross_keys.index_select(1, windows),
            cross_values=self.cross_values.index_select(1, windows),
            cross_bias=None if self.cross_bias is None else self.cross_bias[windows],
        )

    def reorder_rows(self, rows: Tensor) -> None:
        """Replace each row's past by that of another row of the same window (beam search)."""
        for tensor in (self.self_keys, self.self_values):
            past = tensor[:, :, :, : self.length]
            past.copy_(past.index_select(1, rows))

    def repeat_windows(self, group_size: int) -> "DecoderCache":
        """Return a cache with `group_size` rows for each window where there was one."""
        if self.group_size != 1:
            raise ValueError(f"the windows have {self.group_size} rows each already, expected 1")
        rows = torch.arange(self.num_windows, device=self.self_keys.device)
        rows = rows.repeat_interleave(group_size)
        return replace(
            self,
            self_keys=self._used(self.self_keys, rows),
            self_values=self._used(self.self_values, rows),
        )

    def _rows_of(self, windows: Tensor) -> Tensor:
        group = torch.arange(self.group_size, device=windows.device)
        return (windows[:, None] * self.group_size + group).flatten()

    def _used(self, tensor: Tensor, rows: Tensor) -> Tensor:
        layers, _, heads, capacity, channels = tensor.shape
        chosen = tensor.new_empty(layers, len(rows), heads, capacity, channels)
        chosen[:, :, :, : self.length] = tensor[:, :, :, : self.length].index_select(1, rows)
        return chosen

"""Keys and values of what a language model has read, for rows of different lengths."""

import torch
from torch import Tensor

_FIRST = 256


class KeyValueCache:
    """Keys and values of all layers, written in place, with room that doubles when it is full.

    Each row has its own length: rows of a batch start and end apart. It belongs to whoever made
    it, one generation or one batch of them; nothing is shared.

    Args:
        layers: of the transformer.
        rows: B.
        kv_heads: heads of keys and values.
        head_size: channels of each.
        device: where.
        dtype: of what is kept.
        room: positions that there is room for at first.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        kv_heads: int,
        head_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        room: int = _FIRST,
    ) -> None:
        self._shape = (2, layers, rows, kv_heads, room, head_size)
        self._kept = torch.zeros(self._shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=device)
        self._longest = 0
        self._even = True  # whether all rows have one length

    def reserve(self, more: int) -> None:
        """Make room for so many further positions of every row."""
        need, room = self._longest + more, self._kept.shape[4]
        if need <= room:
            return
        while room < need:
            room *= 2
        larger = self._kept.new_zeros(*self._shape[:4], room, self._shape[5])
        larger[..., : self._longest, :] = self._kept[..., : self._longest, :]
        self._kept = larger

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values (B, H, T, D) of a layer behind each row's end.

        `reserve` comes before the first layer, `advance` after the last one.

        Returns:
            All of the layer, (B, H, S, D) each; which of them count, `mask` tells.
        """
        count = keys.shape[2]
        end = self._longest + count
        both = self._kept[:, layer]
        if self._even:
            both[0, :, :, self._longest : end] = keys
            both[1, :, :, self._longest : end] = values
        else:
            rows = torch.arange(len(self.lengths), device=keys.device)[:, None]
            places = self.lengths[:, None] + torch.arange(count, device=keys.device)
            both[0][rows, :, places] = keys.transpose(1, 2)
            both[1][rows, :, places] = values.transpose(1, 2)
        return both[0, :, :, :end], both[1, :, :, :end]

    def mask(self, count: int) -> Tensor | None:
        """Return which of S positions each of `count` new ones may look at, (B, 1, count, S) bool.

        None where all may look at all: one new position of rows of one length.
        """
        if count == 1 and self._even:
            return None
        device = self.lengths.device
        own = self.lengths[:, None] + torch.arange(count, device=device)
        columns = torch.arange(self._longest + count, device=device)
        return (columns[None, None] <= own[:, :, None])[:, None]

    def positions(self, count: int) -> Tensor:
        """Return the positions (B, count) of what comes next."""
        return self.lengths[:, None] + torch.arange(count, device=self.lengths.device)

    def advance(self, counts: int | Tensor) -> None:
        """Count what was written.

        Args:
            counts: positions of every row, or (B,) of each; what was written beyond is forgotten.
        """
        self.lengths = self.lengths + counts
        if isinstance(counts, int):
            self._longest += counts
        else:
            self._measure()

    def _measure(self) -> None:
        self._longest = int(self.lengths.max()) if len(self.lengths) else 0
        self._even = bool((self.lengths == self._longest).all())

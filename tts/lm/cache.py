"""Keys and values of what a language model has read; rows of any lengths are read together."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_FIRST = 256


class KeyValueCache:
    """Keys and values of all layers, written in place, with room that doubles when it is full.

    Its rows are of one length; caches of one row each can be read together whatever their lengths,
    see `JoinedCache`. It belongs to whoever made it; nothing is shared.

    Attributes:
        length: positions that are kept.

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
        self.length = 0
        shape = (layers, 2, rows, kv_heads, room, head_size)
        self._keep(torch.zeros(shape, device=device, dtype=dtype))

    @property
    def device(self) -> torch.device:
        """Where it is kept."""
        return self._kept.device

    def reserve(self, more: int) -> None:
        """Make room for so many further positions."""
        need, room = self.length + more, self._kept.shape[4]
        if need <= room:
            return
        while room < need:
            room *= 2
        larger = self._kept.new_zeros(*self._kept.shape[:4], room, self._kept.shape[5])
        larger[..., : self.length, :] = self._kept[..., : self.length, :]
        self._keep(larger)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values (B, H, T, D) of a layer behind the end, and return all of it.

        `reserve` comes before the first layer, `advance` after the last one.
        """
        (all_keys, all_values), count = self._layers[layer], keys.shape[2]
        all_keys.narrow(2, self.length, count).copy_(keys)
        all_values.narrow(2, self.length, count).copy_(values)
        end = self.length + count
        return all_keys.narrow(2, 0, end), all_values.narrow(2, 0, end)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Append to a layer, and return what queries find there, (B, H, T, D) as they are."""
        k, v = self.append(layer, k, v)
        shared = q.shape[1] != k.shape[1]
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=shared)

    def mask(self, count: int) -> Tensor | None:
        """Return which of S positions each of `count` new ones may look at, (count, S) bool.

        None where all may look at all: one new position.
        """
        if count == 1:
            return None
        columns = torch.arange(self.length + count, device=self.device)
        return columns <= columns[self.length :, None]

    def positions(self, count: int) -> Tensor:
        """Return the positions (1, count) of what comes next."""
        return torch.arange(self.length, self.length + count, device=self.device)[None]

    def advance(self, count: int) -> None:
        """Count what was written."""
        self.length += count

    def _keep(self, kept: Tensor) -> None:
        self._kept = kept
        self._layers = [(layer[0], layer[1]) for layer in kept]


class JoinedCache:
    """Caches of several rows that are read as one sequence, each row's new positions in a piece.

    So all positions share the products between the rows, of whatever lengths they are, and none is
    padded; each row looks at itself alone, and that is computed as it is alone.

    Args:
        rows: their caches, of one row each.
        counts: new positions of each, 1 or more.
    """

    def __init__(self, rows: Sequence[KeyValueCache], counts: Sequence[int]) -> None:
        self._rows = rows
        self._counts = list(counts)
        self._masks = [row.mask(count) for row, count in zip(rows, counts, strict=True)]

    def reserve(self, more: int) -> None:
        """Make room for the new positions, `more` in all."""
        for row, count in zip(self._rows, self._counts, strict=True):
            row.reserve(count)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return what each row's queries find in it, (1, H, T, D) as they are."""
        if len(self._rows) == 1:
            return self._rows[0].attend(layer, q, k, v, self._masks[0])
        queries, keys, values = (part.split(self._counts, dim=2) for part in (q, k, v))
        rows = zip(self._rows, queries, keys, values, self._masks, strict=True)
        found = [row.attend(layer, q, k, v, own) for row, q, k, v, own in rows]
        return torch.cat(found, dim=2)

    def mask(self, count: int) -> Tensor | None:
        """Return None: each row has its own."""
        return None

    def positions(self, count: int) -> Tensor:
        """Return the positions (1, count) of the new ones, each in its row."""
        own = zip(self._rows, self._counts, strict=True)
        return torch.cat([row.positions(new) for row, new in own], dim=1)

    def advance(self, count: int) -> None:
        """Count what was written: `count` in all."""
        for row, own in zip(self._rows, self._counts, strict=True):
            row.advance(own)


Cache = KeyValueCache | JoinedCache

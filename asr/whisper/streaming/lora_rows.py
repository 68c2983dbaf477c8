"""LoRA adapters in a batch: the rows of every stream by an adapter of its own.

What an adapter adds to a linear layer is low-rank, B A x. A and B of all adapters lie side by side,
and a batch takes those of its streams: one gather and two batched products for each layer, however
many adapters there are. Rows of one stream share what is gathered; rows without an adapter take no
part, so they stay as they are, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.decoder import DecoderLayer
from echoic.asr.whisper.encoder import EncoderLayer

# At least so many of the rows that groups are filled up to are real.
FILLED = 0.5


class Place(NamedTuple):
    """Where in a stack an adapter adds something: linear layers that have one input.

    Attributes:
        layer: number in the stack.
        name: of the linear layer in it, or of several, such as "self_attn.qkv".
    """

    layer: int
    name: str


class Stacked(NamedTuple):
    """What all adapters add at one place.

    Attributes:
        down: (n, P, r, inputs), A of n adapters for P linear layers, zeros up to the largest rank.
        up: (n, P, r, outputs), B with its scale, likewise.
        parts: which of the place's linear layers these are, ascending.
    """

    down: Tensor
    up: Tensor
    parts: tuple[int, ...]


Stack = Mapping[Place, Stacked]
_Group = tuple[int, list[int]]  # slot and rows


class Grouping(NamedTuple):
    """Which rows of a batch have which adapter; those of one adapter are a group.

    Attributes:
        slots: int64 (G,), slot of each group's adapter.
        take: int64 (G * N,), rows of the groups, the shorter ones filled up with what they have;
            None where the groups are the batch as it lies.
        real: int64 (n,), which of `take` were not filled up; None for all.
        give: int64 (n,), the row that each of these is.
    """

    slots: Tensor
    take: Tensor | None
    real: Tensor | None
    give: Tensor | None


def grouped(
    slots: Sequence[int | None], sizes: Sequence[int], device: torch.device
) -> list[Grouping]:
    """Group the rows of a batch by adapter.

    Args:
        slots: of each stream's adapter; None for none.
        sizes: rows of each stream, in their order.
        device: of the rows.

    Returns:
        The groups, those of similar lengths together; none where no row has an adapter.
    """
    by_slot: dict[int, list[int]] = {}
    start = 0
    for slot, size in zip(slots, sizes, strict=True):
        if slot is not None and size:
            by_slot.setdefault(slot, []).extend(range(start, start + size))
        start += size
    return [_grouping(groups, start, device) for groups in _alike(list(by_slot.items()))]


def _alike(groups: list[_Group]) -> list[list[_Group]]:
    """Return the groups in few lists, in each of which padding is bounded."""
    lists: list[list[_Group]] = []
    real = 0
    for group in sorted(groups, key=lambda group: -len(group[1])):
        real += len(group[1])
        if lists and real >= FILLED * len(lists[-1][0][1]) * (len(lists[-1]) + 1):
            lists[-1].append(group)
        else:
            lists.append([group])
            real = len(group[1])
    return lists


def _grouping(groups: Sequence[_Group], rows: int, device: torch.device) -> Grouping:
    slots = torch.tensor([slot for slot, _ in groups], device=device)
    longest = len(groups[0][1])
    order = [row for _, own in groups for row in own]
    if order == list(range(rows)) and longest * len(groups) == rows:
        return Grouping(slots, None, None, None)
    give = torch.tensor(order, device=device)
    if longest * len(groups) == len(order):
        return Grouping(slots, give, None, give)
    take = [row for _, own in groups for row in (*own, *[own[0]] * (longest - len(own)))]
    real = [i * longest + n for i, (_, own) in enumerate(groups) for n in range(len(own))]
    return Grouping(
        slots, torch.tensor(take, device=device), torch.tensor(real, device=device), give
    )


class LoraRows:
    """What adapters add to the rows of one batch, in one stack.

    Args:
        stack: what there is at each place.
        groupings: which rows have which.
    """

    def __init__(self, stack: Stack, groupings: Sequence[Grouping]) -> None:
        self._stack = stack
        self._groupings = groupings

    def add(self, place: Place, x: Tensor, outputs: Sequence[Tensor]) -> None:
        """Add, in place, to what the linear layers of a place made of some rows.

        Args:
            place: of the layers.
            x: (rows, inputs).
            outputs: (rows, outputs) of each linear layer there, fresh ones.
        """
        stacked = self._stack.get(place)
        if stacked is not None:
            for grouping in self._groupings:
                _add(stacked, grouping, x, outputs)


def _add(stacked: Stacked, grouping: Grouping, x: Tensor, outputs: Sequence[Tensor]) -> None:
    slots, take, real, give = grouping
    down = stacked.down.index_select(0, slots).flatten(1, 2)  # (G, P * r, inputs)
    up = stacked.up.index_select(0, slots)
    rows = (x if take is None else x.index_select(0, take)).to(down.dtype)
    low = torch.bmm(rows.unflatten(0, (len(slots), -1)), down.transpose(1, 2))
    for number, part in enumerate(stacked.parts):
        output, ranks = outputs[part], slice(number * up.shape[2], (number + 1) * up.shape[2])
        if give is None and output.is_contiguous() and output.dtype == up.dtype:
            output.unflatten(0, (len(slots), -1)).baddbmm_(low[:, :, ranks], up[:, number])
            continue  # one pass over the output, which halves the time
        added = torch.bmm(low[:, :, ranks], up[:, number]).flatten(0, 1)
        if real is not None:
            added = added.index_select(0, real)
        if give is None:
            output.add_(added)
        else:
            output.index_add_(0, give, added.to(output.dtype))


def lora_rows(stack: Stack, groupings: Sequence[Grouping]) -> LoraRows | None:
    """Return what adapters add to a batch; None for nothing."""
    return LoraRows(stack, groupings) if stack and groupings else None


def adapt(
    lora: LoraRows | None, layer: int, name: str, x: Tensor, *outputs: Tensor
) -> tuple[Tensor, ...]:
    """Return what linear layers made of rows with what adapters add to it; see `LoraRows.add`."""
    if lora is not None:
        lora.add(Place(layer, name), x, outputs)
    return outputs


def feed_forward(
    layer: EncoderLayer | DecoderLayer, x: Tensor, lora: LoraRows | None, index: int
) -> Tensor:
    """Run the feed-forward part of a layer over rows (rows, C), which are added to the result.

    Args:
        layer: of either stack.
        x: (rows, C).
        lora: what adapters add.
        index: of the layer in its stack.
    """
    h = layer.final_layer_norm(x)
    (between,) = adapt(lora, index, "fc1", h, layer.fc1(h))
    between = functional.gelu(between)
    (y,) = adapt(lora, index, "fc2", between, layer.fc2(between))
    return x + y

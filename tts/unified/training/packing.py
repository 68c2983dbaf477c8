"""Documents side by side in rows of fixed length, deaf to each other."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from echoic.audio.data.passes import Cut, IntArray, Plan
from echoic.tts.unified.sequences import NONE, Document

log = logging.getLogger(__name__)

# Documents that find no room wait for the next batch; so many may, before this one is closed.
_WAITING = 32


@dataclass(frozen=True, slots=True)
class PackShape:
    """The form of all batches.

    Attributes:
        rows: of each.
        positions: of each row; longer documents are left out.

    Raises:
        ValueError: fewer than one row, or two positions.
    """

    rows: int = 4
    positions: int = 8192

    def __post_init__(self) -> None:
        if self.rows < 1 or self.positions < 2:
            raise ValueError(
                f"{self.rows} rows of {self.positions} positions: expected 1 of 2 or more"
            )


class Pack(NamedTuple):
    """Documents in rows.

    Attributes:
        number: of the batch.
        ids: (B, L) int64; 0 where nothing is.
        positions: (B, L) int64, from 0 in each document.
        documents: (B, L) int64 number of the document, `NONE` where nothing is.
        targets: (B, L) int64 the id that comes next in the document.
        weights: (B, L) float32 of each target in the loss; 0 where none is.
    """

    number: int
    ids: Tensor
    positions: Tensor
    documents: Tensor
    targets: Tensor
    weights: Tensor

    def mask(self) -> Tensor:
        """Return (B, 1, L, L): True where a position hears another, of its own document."""
        same = self.documents[:, :, None] == self.documents[:, None, :]
        return same.tril()[:, None]


class Room:
    """The free places of a batch.

    Args:
        shape: of it.
    """

    def __init__(self, shape: PackShape) -> None:
        self._taken = [0] * shape.rows
        self._positions = shape.positions

    def take(self, length: int) -> tuple[int, int] | None:
        """Return row and position for a document, in the first row that has room; else None."""
        for row, taken in enumerate(self._taken):
            if taken + length <= self._positions:
                self._taken[row] += length
                return row, taken
        return None


def groups_of(lengths: Sequence[int], shape: PackShape) -> list[list[int]]:
    """Return which documents each batch has, nearly in their order.

    Args:
        lengths: of the documents, none longer than a row.
        shape: of the batches.
    """
    groups: list[list[int]] = []
    todo, late = iter(range(len(lengths))), []
    while True:
        room, own, rest = Room(shape), [], []
        for index in late:  # those that waited come first
            (rest if room.take(lengths[index]) is None else own).append(index)
        while len(rest) <= _WAITING:
            index = next(todo, None)
            if index is None:
                break
            (rest if room.take(lengths[index]) is None else own).append(index)
        late = rest
        if not own:
            return groups
        groups.append(own)


class PackPlan(Plan):
    """Batches of documents without end, each number always the same.

    Args:
        lengths: (N,) of the documents of each source.
        shares: of the ids of a pass, in proportion to each other.
        shape: of the batches.
        seed: of the order.

    Raises:
        ValueError: a source without a document that fits.
    """

    def __init__(
        self,
        lengths: Sequence[ArrayLike],
        shares: Sequence[float],
        shape: PackShape,
        seed: int = 0,
    ) -> None:
        every = [np.asarray(own, np.int64) for own in lengths]
        kept = [np.flatnonzero(own <= shape.positions) for own in every]
        left_out = sum(len(own) - len(k) for own, k in zip(every, kept, strict=True))
        if left_out:
            log.warning(
                "%d of %d documents have more than %d ids and are left out",
                left_out, sum(map(len, every)), shape.positions,
            )  # fmt: skip
        totals = [float(own[k].sum()) for own, k in zip(every, kept, strict=True)]
        super().__init__(kept, totals, shares, seed)
        self.shape = shape
        self._lengths = np.concatenate([own[k] for own, k in zip(every, kept, strict=True)])

    def _cut(self, rows: IntArray, generator: torch.Generator) -> Cut:
        rows = rows[torch.randperm(len(rows), generator=generator).numpy()]
        groups = groups_of(self._lengths[rows].tolist(), self.shape)
        sizes = np.array([len(group) for group in groups])
        order = np.concatenate([np.array(group) for group in groups])
        return Cut(rows[order], np.cumsum(sizes) - sizes, sizes)


def pack(
    documents: Sequence[Document],
    weights: Sequence[Tensor],
    shape: PackShape,
    number: int = 0,
) -> Pack:
    """Lay documents into rows, each where `Room` has a place for it.

    Args:
        documents: that fit together.
        weights: (N,) float of each document's ids as targets; that of the first one does not count,
            since nothing comes before it.
        shape: of the batch.
        number: of the batch.

    Raises:
        ValueError: they do not fit.
    """
    size = (shape.rows, shape.positions)
    made = Pack(
        number,
        torch.zeros(size, dtype=torch.int64),
        torch.zeros(size, dtype=torch.int64),
        torch.full(size, NONE),
        torch.zeros(size, dtype=torch.int64),
        torch.zeros(size),
    )
    room = Room(shape)
    for index, (document, own) in enumerate(zip(documents, weights, strict=True)):
        length = len(document.ids)
        place = room.take(length)
        if place is None:
            raise ValueError(
                f"{len(documents)} documents do not fit into {shape.rows} rows of "
                f"{shape.positions} positions"
            )
        row, start = place
        here = (row, slice(start, start + length))
        before = (row, slice(start, start + length - 1))
        made.ids[here] = document.ids
        made.positions[here] = torch.arange(length)
        made.documents[here] = index
        made.targets[before] = document.ids[1:]
        made.weights[before] = own[1:]
    return made


def rows_for(documents: Sequence[Document]) -> PackShape:
    """Return the shape of a batch with rows as long as the longest document, and no row empty."""
    lengths = [len(document.ids) for document in documents]
    room = Room(PackShape(len(documents), max(2, *lengths)))
    places = [room.take(length) for length in lengths]
    used = 1 + max(place[0] for place in places if place is not None)
    return PackShape(used, max(2, *lengths))

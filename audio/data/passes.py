"""Passes over corpora: an endless row of numbered batches, each number always the same."""

import bisect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echoic.audio.augment import generator_for

IntArray = NDArray[np.integer]


class Item(NamedTuple):
    """An utterance: number of its corpus, and its number in there."""

    corpus: int
    utterance: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A pass, cut into batches.

    Attributes:
        rows: int (N,) the utterances of the pass, numbered through all corpora.
        starts: int64 (batches,) where each batch begins in `rows`.
        sizes: int64 (batches,) utterances of each.
    """

    rows: IntArray
    starts: IntArray
    sizes: IntArray

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> IntArray:
        start = int(self.starts[index])
        return self.rows[start : start + int(self.sizes[index])]


class Plan(ABC):
    """Batches without end, each number always the same.

    A pass has every utterance of the corpus whose share asks most of it, and as many of the others
    as their shares ask; these are gone through in later passes before any comes again. A pass is
    held as numbers of utterances, 4 bytes each.

    Args:
        utterances: int (N,) of each corpus, those that take part.
        totals: seconds of these, of each corpus.
        shares: of the sound, in proportion to each other.
        seed: of the order.

    Raises:
        ValueError: a corpus has none.
    """

    def __init__(
        self,
        utterances: Sequence[IntArray],
        totals: Sequence[float],
        shares: Sequence[float],
        seed: int = 0,
    ) -> None:
        if not utterances or not all(len(own) for own in utterances):
            raise ValueError("a corpus has no utterances to make batches of")
        self.seed = seed
        self._utterances = [own.astype(np.int32) for own in utterances]
        sizes = [len(own) for own in utterances]
        rates = [share / total for share, total in zip(shares, totals, strict=True)]
        self.counts = [
            max(1, round(rate / max(rates) * size)) for rate, size in zip(rates, sizes, strict=True)
        ]
        self._firsts = [sum(sizes[:corpus]) for corpus in range(len(sizes))]
        self._starts = [0]
        self._newest: tuple[int, Cut] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every pass has every utterance of every corpus."""
        return self.counts == [len(own) for own in self._utterances]

    def __call__(self, number: int) -> list[Item]:
        """Return the utterances of a batch."""
        while self._starts[-1] <= number:
            self._starts.append(self._starts[-1] + self.length(len(self._starts) - 1))
        at = bisect.bisect_right(self._starts, number) - 1
        return self._items(self.cut(at)[number - self._starts[at]])

    def batches(self, number: int) -> list[list[Item]]:
        """Return the batches of a pass, in their order."""
        cut = self.cut(number)
        return [self._items(cut[index]) for index in range(len(cut))]

    def length(self, number: int) -> int:
        """Return how many batches a pass has."""
        return len(self.cut(number))

    def cut(self, number: int) -> Cut:
        """Return a pass; the newest is kept."""
        if self._newest is None or self._newest[0] != number:
            generator = generator_for(f"{self.seed}/{number}", "batches")
            self._newest = (number, self._cut(self.rows(number), generator))
        return self._newest[1]

    @abstractmethod
    def _cut(self, rows: IntArray, generator: torch.Generator) -> Cut:
        """Cut the utterances of a pass into batches."""

    def rows(self, number: int) -> IntArray:
        """Return int (N,) the utterances of a pass, numbered through all corpora."""
        picked = [self._picked(c, number * count, count) for c, count in enumerate(self.counts)]
        return np.concatenate(picked)

    def _picked(self, corpus: int, first: int, count: int) -> IntArray:
        """Return `count` utterances of an endless row of shuffled rounds through the corpus."""
        size = len(self._utterances[corpus])
        rounds = range(first // size, (first + count - 1) // size + 1)
        row = np.concatenate([self._round(corpus, number) for number in rounds])
        begin = first - rounds[0] * size
        return row[begin : begin + count] + self._firsts[corpus]

    def _round(self, corpus: int, number: int) -> IntArray:
        generator = generator_for(f"{self.seed}/{corpus}/{number}", "round")
        order = torch.randperm(len(self._utterances[corpus]), generator=generator)
        return order.numpy().astype(np.int32)

    def _items(self, rows: IntArray) -> list[Item]:
        items = []
        for row in rows.tolist():
            corpus = bisect.bisect_right(self._firsts, row) - 1
            items.append(Item(corpus, int(self._utterances[corpus][row - self._firsts[corpus]])))
        return items

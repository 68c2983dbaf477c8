"""Which utterances make batch number n: passes over the corpora, batches of like durations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.audio.augment import generator_for


class Item(NamedTuple):
    """An utterance: number of its corpus, and its number in there."""

    corpus: int
    utterance: int


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """The size of batches.

    Attributes:
        seconds: most sound in a batch, padding included; a longer utterance is one alone. A stacked
            frame lasts 60 ms.
        utterances: most utterances in a batch.
        jitter: durations are taken for up to this share longer or shorter when utterances of like
            duration are put together, so that they do not meet the same ones in every pass.
    """

    seconds: float = 120.0
    utterances: int = 64
    jitter: float = 0.15

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.utterances < 1 or not 0 <= self.jitter < 1:
            raise ValueError(
                f"seconds {self.seconds}, utterances {self.utterances}, jitter {self.jitter}: "
                "expected more than 0, 1 or more, and 0 to below 1"
            )


def cut(items: Sequence[Item], seconds: Sequence[float], config: BatchConfig) -> list[list[Item]]:
    """Cut a row of utterances into batches that keep to the limits.

    Args:
        items: in the order in which they are to lie.
        seconds: of each.
        config: the limits.
    """
    batches: list[list[Item]] = []
    longest = math.inf
    for item, duration in zip(items, seconds, strict=True):
        longest = max(longest, duration)
        size = len(batches[-1]) + 1 if batches else math.inf
        if size > config.utterances or longest * size > config.seconds:
            batches.append([])
            longest = duration
        batches[-1].append(item)
    return batches


class Passes:
    """Batches without end, each number always the same.

    A pass has every utterance of the corpus whose share asks most of it, and as many of the others
    as their shares ask; these are gone through in later passes before any comes again.

    Args:
        durations: seconds of every utterance of every corpus.
        shares: of the sound, in proportion to each other.
        config: the size of batches.
        seed: of the order.
    """

    def __init__(
        self,
        durations: Sequence[Sequence[float]],
        shares: Sequence[float],
        config: BatchConfig,
        seed: int = 0,
    ) -> None:
        self.durations = durations
        self.config = config
        self.seed = seed
        rates = [share / sum(own) for share, own in zip(shares, durations, strict=True)]
        self._counts = [
            max(1, round(rate / max(rates) * len(own)))
            for rate, own in zip(rates, durations, strict=True)
        ]
        self._starts = [0]
        self._newest: tuple[int, list[list[Item]]] = (-1, [])

    def __call__(self, number: int) -> list[Item]:
        """Return the utterances of a batch."""
        while self._starts[-1] <= number:
            last = len(self._starts) - 1
            self._starts.append(self._starts[-1] + len(self.batches(last)))
        at = len(self._starts) - 2
        while self._starts[at] > number:
            at -= 1
        return self.batches(at)[number - self._starts[at]]

    def batches(self, number: int) -> list[list[Item]]:
        """Return the batches of a pass, in their order."""
        if self._newest[0] != number:
            self._newest = (number, self._make(number))
        return self._newest[1]

    def _make(self, number: int) -> list[list[Item]]:
        items = [
            Item(corpus, utterance)
            for corpus, count in enumerate(self._counts)
            for utterance in self._picked(corpus, number * count, count)
        ]
        generator = generator_for(f"{self.seed}/{number}", "batches")
        seconds = torch.tensor([self.durations[i.corpus][i.utterance] for i in items])
        drawn = 2 * torch.rand(len(items), generator=generator) - 1
        order = (seconds * (1 + self.config.jitter * drawn)).argsort().tolist()
        batches = cut([items[i] for i in order], seconds[order].tolist(), self.config)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _picked(self, corpus: int, first: int, count: int) -> list[int]:
        """Return `count` utterances of an endless row of shuffled rounds through the corpus."""
        size = len(self.durations[corpus])
        rounds = range(first // size, (first + count - 1) // size + 1)
        row = torch.cat([self._round(corpus, number) for number in rounds])
        begin = first - rounds[0] * size
        return row[begin : begin + count].tolist()

    def _round(self, corpus: int, number: int) -> Tensor:
        generator = generator_for(f"{self.seed}/{corpus}/{number}", "round")
        return torch.randperm(len(self.durations[corpus]), generator=generator)


def in_order(durations: Sequence[Sequence[float]], config: BatchConfig) -> list[list[Item]]:
    """Return batches that have every utterance once, from the shortest to the longest."""
    items = [Item(c, i) for c, own in enumerate(durations) for i in range(len(own))]
    items.sort(key=lambda item: durations[item.corpus][item.utterance])
    return cut(items, [durations[item.corpus][item.utterance] for item in items], config)

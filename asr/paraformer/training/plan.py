"""Which utterances make batch number n: passes over the corpora, batches of like durations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from echoic.audio.data.passes import Cut, IntArray, Item, Plan

T = TypeVar("T")


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


def cut(items: Sequence[T], seconds: Sequence[float], config: BatchConfig) -> list[list[T]]:
    """Cut a row of utterances into batches that keep to the limits.

    Args:
        items: in the order in which they are to lie.
        seconds: of each.
        config: the limits.
    """
    batches: list[list[T]] = []
    longest = math.inf
    for item, duration in zip(items, seconds, strict=True):
        longest = max(longest, duration)
        size = len(batches[-1]) + 1 if batches else math.inf
        if size > config.utterances or longest * size > config.seconds:
            batches.append([])
            longest = duration
        batches[-1].append(item)
    return batches


class Passes(Plan):
    """Batches without end of utterances of like durations, each number always the same.

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
        super().__init__(
            [np.arange(len(own)) for own in durations],
            [sum(own) for own in durations],
            shares,
            seed,
        )
        self.config = config
        self._seconds = torch.tensor([seconds for own in durations for seconds in own])

    def _cut(self, rows: IntArray, generator: torch.Generator) -> Cut:
        seconds = self._seconds[torch.from_numpy(rows)]
        drawn = 2 * torch.rand(len(rows), generator=generator) - 1
        order = (seconds * (1 + self.config.jitter * drawn)).argsort()
        rows = rows[order.numpy()]
        batches = cut(rows.tolist(), seconds[order].tolist(), self.config)
        sizes = np.array([len(batch) for batch in batches])
        starts = np.cumsum(sizes) - sizes
        turns = torch.randperm(len(batches), generator=generator).numpy()
        return Cut(rows, starts[turns], sizes[turns])


def in_order(durations: Sequence[Sequence[float]], config: BatchConfig) -> list[list[Item]]:
    """Return batches that have every utterance once, from the shortest to the longest."""
    items = [Item(c, i) for c, own in enumerate(durations) for i in range(len(own))]
    items.sort(key=lambda item: durations[item.corpus][item.utterance])
    return cut(items, [durations[item.corpus][item.utterance] for item in items], config)

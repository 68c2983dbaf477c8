"""Batches by number: what lets a run stop, go on, and be shared by processes and workers."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from torch.utils.data import IterableDataset, get_worker_info

B = TypeVar("B", covariant=True)


class NumberedBatches(IterableDataset[B]):
    """Batches from number `start` on, split among the workers of each process.

    Args:
        make: batch number n, the same wherever and whenever it is made.
        start: where a resumed run goes on.
        processes: how many share the run.
        rank: which one this is.
        stop: batches in all of this process; None for no end.
    """

    def __init__(
        self,
        make: Callable[[int], B],
        start: int = 0,
        processes: int = 1,
        rank: int = 0,
        stop: int | None = None,
    ) -> None:
        self.make = make
        self.start = start
        self.processes = processes
        self.rank = rank
        self.stop = stop

    def __iter__(self) -> Iterator[B]:
        """Make batches, each in the worker whose turn it is."""
        worker = get_worker_info()
        workers, own = (1, 0) if worker is None else (worker.num_workers, worker.id)
        number = self.start + own
        while self.stop is None or number < self.stop:
            yield self.make(number * self.processes + self.rank)
            number += workers

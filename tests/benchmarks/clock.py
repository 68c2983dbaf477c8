"""Times of calls on a machine that also does other things: the least of many, taken in turns."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

LEAST_ROUNDS = 5
MOST_ROUNDS = 200
BURST_SECONDS = 0.002  # short calls come several in a row: each round has some with warm caches


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def least_ms(
    works: Sequence[Callable[[], object]], seconds: float, *, on_gpu: bool = False
) -> list[float]:
    """Return each work's shortest call in ms; they take turns for so many seconds each.

    In one thread the processor's time counts, which other processes do not lengthen; in several,
    or on a GPU, the time on the wall.
    """
    wall = on_gpu or torch.get_num_threads() > 1
    clock = time.perf_counter if wall else time.process_time
    bursts = [max(1, min(20, int(BURST_SECONDS / _seconds(work)))) for work in works]
    least = [float("inf")] * len(works)
    end = time.perf_counter() + seconds * len(works)
    for rounds in range(MOST_ROUNDS):
        if rounds >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        for i, work in enumerate(works):
            for _ in range(bursts[i]):
                start = clock()
                work()
                least[i] = min(least[i], clock() - start)
    return [1000 * value for value in least]


def _seconds(work: Callable[[], object]) -> float:
    work()  # prepares and warms up
    start = time.perf_counter()
    work()
    return max(time.perf_counter() - start, 1e-6)

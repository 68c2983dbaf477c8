"""How much of what a model computes is padding, by the way in which batches are made."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoic.audio.data.bucket_plan import BucketPlan
from echoic.audio.data.buckets import Buckets
from echoic.audio.data.passes import Cut

WINDOW_SECONDS = 30.0
RANDOM_SIZE = 32


class Padding(NamedTuple):
    """What a way to make batches costs.

    Attributes:
        name: of the way.
        encoder: share of the padded sound that is padding, 0 to 1.
        decoder: share of the padded texts; None where there are no texts, or no batches of them.
        steps: batches for each utterance once; None where there are no batches.
        left_out: utterances that it refuses.
    """

    name: str
    encoder: float
    decoder: float | None
    steps: int | None
    left_out: int = 0


def padding_of(cut: Cut, values: ArrayLike) -> float:
    """Return the share of padding where each batch is as long as the longest in it.

    Args:
        cut: the batches.
        values: (N,) lengths of the utterances, by their number.
    """
    lengths = np.asarray(values, np.float64)
    # Batches may lie in any order; `reduceat` wants them one behind the other.
    order = np.argsort(cut.starts)
    starts, sizes = cut.starts[order], cut.sizes[order]
    longest = np.maximum.reduceat(lengths[cut.rows], starts)
    padded = float((longest * sizes).sum())
    return 1 - float(lengths[cut.rows].sum()) / padded if padded else 0.0


def by_chance(count: int, size: int = RANDOM_SIZE, seed: int = 0) -> Cut:
    """Return batches of one size with utterances drawn by chance."""
    rows = np.random.default_rng(seed).permutation(count).astype(np.int32)
    starts = np.arange(0, count, size)
    return Cut(rows, starts, np.diff(np.append(starts, count)))


def compare(
    durations: ArrayLike,
    tokens: ArrayLike | None,
    num_buckets: int = 30,
    num_sub: int = 5,
    batch_seconds: float = 360.0,
    seed: int = 0,
) -> list[Padding]:
    """Compare four ways to make batches of the same utterances.

    Args:
        durations: (N,) seconds.
        tokens: (N,) lengths of the texts; None where there are no texts.
        num_buckets: of durations.
        num_sub: of numbers of tokens in each of them.
        batch_seconds: most sound in a batch out of buckets.
        seed: of what is drawn.

    Raises:
        ValueError: see `Buckets.estimate`.
    """
    seconds = np.asarray(durations, np.float64)
    texts = None if tokens is None else np.asarray(tokens, np.int64)
    window = np.ceil(seconds / WINDOW_SECONDS).sum() * WINDOW_SECONDS
    random = by_chance(len(seconds), seed=seed)
    found = [
        Padding(f"pad to {WINDOW_SECONDS:g} s", 1 - float(seconds.sum() / window), None, None),
        _measured(f"random batches of {RANDOM_SIZE}", random, seconds, texts),
    ]
    rules = [
        (f"{num_buckets} duration buckets", 1),
        (f"{num_buckets} x {num_sub} buckets", num_sub),
    ]
    for name, sub in rules[: 1 if texts is None else 2]:
        known = np.zeros(len(seconds), np.int64) if texts is None else texts
        buckets = Buckets.estimate(seconds, known, num_buckets, sub).sized(batch_seconds)
        # One bucket of texts says nothing of them: they meet by chance, and none is refused.
        held = np.zeros_like(known) if sub == 1 else known
        plan = BucketPlan([seconds], [held], [1.0], buckets, seed=seed)
        kept = np.flatnonzero(buckets.assign_all(seconds, held) >= 0)
        own = None if texts is None else texts[kept]
        measured = _measured(name, plan.cut(0), seconds[kept], own)
        found.append(measured._replace(left_out=plan.left_out))
    return found


def _measured(
    name: str, cut: Cut, seconds: NDArray[np.float64], texts: NDArray[np.int64] | None
) -> Padding:
    decoder = None if texts is None else padding_of(cut, texts)
    return Padding(name, padding_of(cut, seconds), decoder, len(cut))


class Bin(NamedTuple):
    """Utterances of `low` to below `high` seconds: how many, and their hours."""

    low: float
    high: float
    utterances: int
    hours: float


def histogram(durations: ArrayLike, most: int = 16) -> list[Bin]:
    """Count utterances by duration in bins of a round width, at most so many.

    Raises:
        ValueError: no utterances.
    """
    seconds = np.asarray(durations, np.float64)
    if not len(seconds):
        raise ValueError("no utterances to count")
    width = next(w for w in _widths() if seconds.max() / w < most)
    number = np.floor(seconds / width).astype(np.int64)
    counts, sums = np.bincount(number), np.bincount(number, seconds)
    return [
        Bin(width * i, width * (i + 1), int(count), float(total) / 3600)
        for i, (count, total) in enumerate(zip(counts, sums, strict=True))
    ]


def _widths() -> Iterable[float]:
    """Yield 0.1, 0.2, 0.5, 1, 2, 5, 10 and so on."""
    unit = 0.1
    while True:
        yield from (unit, 2 * unit, 5 * unit)
        unit *= 10

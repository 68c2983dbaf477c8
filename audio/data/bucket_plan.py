"""Batches out of buckets: static sizes, little padding, and like cost for all processes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from echoic.audio.data.buckets import Buckets
from echoic.audio.data.passes import Cut, IntArray, Plan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """Which buckets a run takes its batches from.

    Attributes:
        duration: how many of durations.
        tokens: how many of lengths of text in each of them.
        max_sigma: see `Buckets.estimate`.
        jitter: texts are taken for up to this share longer or shorter when utterances of a bucket
            are put together, so that they do not meet the same ones in every pass; 1 to 2 draw
            them by chance.
        strict: leave out what has more tokens than any bucket of its duration; else it goes to
            longer utterances, where one holds it.
        saved: buckets found before, or the file that they were saved in, in place of those that
            the utterances ask for; their batch sizes are used if they have some.
    """

    duration: int = 30
    tokens: int = 5
    max_sigma: float = 4.0
    jitter: float = 0.05
    strict: bool = True
    saved: Buckets | str | None = None

    def __post_init__(self) -> None:
        if self.duration < 1 or self.tokens < 1 or self.max_sigma <= 0 or self.jitter < 0:
            raise ValueError(
                f"buckets {self.duration} x {self.tokens}, max_sigma {self.max_sigma}, jitter "
                f"{self.jitter}: expected 1 x 1 or more, more than 0, and 0 or more"
            )

    def find(
        self, durations: ArrayLike, tokens: ArrayLike, seconds: float, utterances: int
    ) -> Buckets:
        """Return the buckets with their batch sizes.

        Args:
            durations: (N,) seconds of the utterances.
            tokens: (N,) lengths of their texts.
            seconds: most sound in a batch where nobody has looked for batch sizes.
            utterances: most utterances in such a batch.

        Raises:
            ValueError: there are none that fit the utterances, or in the file.
            OSError: the file cannot be read.
        """
        if isinstance(self.saved, Buckets):
            found = self.saved
        elif self.saved is not None:
            found = Buckets.load(self.saved)
        else:
            found = Buckets.estimate(durations, tokens, self.duration, self.tokens, self.max_sigma)
        return found if found.batch_sizes else found.sized(seconds, utterances)


class Run(NamedTuple):
    """Neighbours that make a step: so many `utterances`, all of which fit into `bucket`."""

    utterances: int
    bucket: int


class Layout(NamedTuple):
    """The form of a pass, which follows from how many utterances each bucket has.

    Attributes:
        utterances: int64 (runs,) of each run.
        batches: int64 (runs,) that it is dealt into.
        steps: int64 (steps, processes) batches, numbered through all runs, that are met together.
    """

    utterances: IntArray
    batches: IntArray
    steps: IntArray


class BucketPlan(Plan):
    """Batches without end out of buckets, each number always the same.

    The utterances of a pass lie in the order of their buckets, those of a bucket in the order of
    their texts, forth in one duration bucket and back in the next. Runs of this row that fit into
    one bucket, `processes` times its batch size, are dealt among the processes; so batch
    n * processes + rank costs each rank the same. Where a bucket ends, its last utterances go with
    the first of the next: no batch is small because its bucket is. Every utterance of a pass is met
    once.

    When fewer utterances than processes are left over, they make a step together with a part of
    another run: the only step of a pass with unequal batches. Some are met twice only where there
    are not enough of them to share, or where all batches have one utterance.

    Args:
        durations: (N,) seconds of the utterances of each corpus.
        tokens: (N,) lengths of their texts, of each corpus.
        shares: of the sound, in proportion to each other.
        buckets: with their batch sizes.
        processes: how many share the run.
        seed: of the order.
        jitter: see `BucketConfig`.
        strict: see `BucketConfig`.

    Attributes:
        left_out: how many utterances have no bucket.

    Raises:
        ValueError: the buckets have no batch sizes, or hold no utterance of a corpus.
    """

    def __init__(
        self,
        durations: Sequence[ArrayLike],
        tokens: Sequence[ArrayLike],
        shares: Sequence[float],
        buckets: Buckets,
        processes: int = 1,
        seed: int = 0,
        jitter: float = 0.05,
        strict: bool = True,
    ) -> None:
        if not buckets.batch_sizes:
            raise ValueError("the buckets have no batch sizes: search them, or choose by seconds")
        seconds = [np.asarray(own, np.float64) for own in durations]
        texts = [np.asarray(own, np.int64) for own in tokens]
        found = [buckets.assign_all(s, t, strict) for s, t in zip(seconds, texts, strict=True)]
        kept = [np.flatnonzero(own >= 0) for own in found]
        for corpus, own in enumerate(kept):
            if not len(own):
                raise ValueError(
                    f"the buckets hold none of the {len(found[corpus])} utterances of corpus "
                    f"{corpus}: find them for this corpus"
                )
        self.left_out = self._tell(buckets, seconds, found)
        totals = [float(own[k].sum()) for own, k in zip(seconds, kept, strict=True)]
        super().__init__(kept, totals, shares, seed)
        self.buckets = buckets
        self.processes = processes
        self.jitter = jitter
        self._bucket = np.concatenate([own[k] for own, k in zip(found, kept, strict=True)])
        self._texts = np.concatenate([own[k] for own, k in zip(texts, kept, strict=True)])
        self._snake, self._forth = _snake(buckets)
        self._whole: Layout | None = None

    def length(self, number: int) -> int:
        """Return how many batches a pass has; nothing is sorted for that."""
        return self._layout(number).steps.size

    def _layout(self, number: int) -> Layout:
        if self.is_whole:
            if self._whole is None:
                self._whole = self._form(self._bucket)
            return self._whole
        return self._form(self._bucket[self.rows(number)])

    def _form(self, bucket: IntArray) -> Layout:
        counts = np.bincount(bucket, minlength=len(self.buckets))
        return _form(_runs(counts, self.buckets, self._snake, self.processes), self)

    def _cut(self, rows: IntArray, generator: torch.Generator) -> Cut:
        # Shuffled first, and sorted by a sort that keeps equals as they lie.
        rows = rows[torch.randperm(len(rows), generator=generator).numpy()]
        bucket = self._bucket[rows]
        drawn = 2 * torch.rand(len(rows), generator=generator).numpy() - 1
        texts = self._texts[rows] * (1 + self.jitter * drawn)
        place = np.empty(len(self.buckets), np.int64)
        place[self._snake] = np.arange(len(self.buckets))
        apart = 2 * (1 + self.jitter) * float(self._texts.max()) + 1
        keys = place[bucket] * apart + np.where(self._forth[bucket], texts, -texts)
        rows = rows[np.argsort(keys, kind="stable")]
        layout = self._form(bucket)
        rows = _deal(rows, layout)
        starts, sizes = _batches(layout)
        order = torch.randperm(len(layout.steps), generator=generator).numpy()
        order = layout.steps[order].reshape(-1)
        return Cut(rows, starts[order], sizes[order])

    @staticmethod
    def _tell(
        buckets: Buckets, seconds: Sequence[NDArray], found: Sequence[NDArray[np.int32]]
    ) -> int:
        longest = buckets.edges[-1][0]
        without = sum(int((own < 0).sum()) for own in found)
        too_long = sum(int((own > longest).sum()) for own in seconds)
        if without:
            log.warning(
                "%d of %d utterances have no bucket and are left out: %d last longer than %g s, %d "
                "have more tokens than the buckets of their duration",
                without, sum(map(len, found)), too_long, longest, without - too_long,
            )  # fmt: skip
        return without


def _snake(buckets: Buckets) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the buckets from long to short, and which go forth from few tokens to many.

    Neighbours in this order have like numbers of tokens also where the duration changes.
    """
    longest, group = np.unique([seconds for seconds, _ in buckets.edges], return_inverse=True)
    forth = (len(longest) - 1 - group) % 2 == 0
    texts = np.array([tokens for _, tokens in buckets.edges])
    return np.lexsort((np.where(forth, texts, -texts), -group)), forth


def _runs(counts: IntArray, buckets: Buckets, snake: IntArray, processes: int) -> list[Run]:
    """Cut the row of utterances, of which each bucket has so many, into runs for one step each."""
    runs: list[Run] = []
    now = Run(0, 0)
    for bucket in snake.tolist():
        left = int(counts[bucket])
        while left:
            both = _joined(buckets, now.bucket, bucket) if now.utterances else bucket
            room = 0 if both is None else buckets.batch_sizes[both] * processes - now.utterances
            if both is None or room <= 0:
                runs.append(now)
                now = Run(0, 0)
                continue
            taken = min(room, left)
            now = Run(now.utterances + taken, both)
            left -= taken
    return [*runs, now]


def _joined(buckets: Buckets, one: int, other: int) -> int | None:
    """Return the smallest bucket that holds the utterances of two."""
    if one == other:
        return one
    (seconds, tokens), (longer, more) = buckets.edges[one], buckets.edges[other]
    return buckets.assign(max(seconds, longer), max(tokens, more), strict=False)


def _form(runs: Sequence[Run], plan: BucketPlan) -> Layout:
    """Deal each run into a batch for each process; what is too small for that meets in one step."""
    processes = plan.processes
    utterances = np.array([run.utterances for run in runs])
    sizes = np.array([plan.buckets.batch_sizes[run.bucket] for run in runs])
    least = -(-utterances // sizes)
    small = utterances < processes
    # That step may ask the largest run for some batches more than it has to give in its own.
    donor = int(utterances.argmax())
    batches = _filled(np.where(small, least, processes), utterances, processes, small, donor)
    if batches is None:  # few utterances: nearly all of them have to be mixed
        batches = _filled(least, utterances, processes, np.full(len(runs), True), donor)
    if batches is None:
        batches = least
    run_of = np.repeat(np.arange(len(runs)), batches)
    whole = batches[run_of] == processes
    mixed = np.flatnonzero(~whole)
    mixed = mixed[np.argsort(run_of[mixed] != donor, kind="stable")]
    # Longer only where nothing else helped: some batches are met twice.
    mixed = np.resize(mixed, -(-len(mixed) // processes) * processes)
    steps = np.concatenate([np.flatnonzero(whole), mixed])
    return Layout(utterances, batches, steps.reshape(-1, processes))


def _filled(
    batches: IntArray, utterances: IntArray, processes: int, pool: NDArray[np.bool_], donor: int
) -> IntArray | None:
    """Deal runs into more batches, until their number is a multiple of that of the processes.

    Args:
        batches: int64 (runs,) of each run so far.
        utterances: int64 (runs,) of each run.
        processes: how many.
        pool: which runs may be dealt into more.
        donor: another that may.

    Returns:
        int64 (runs,) batches; None where they would have to be empty.
    """
    batches = batches.copy()
    candidates = sorted({*np.flatnonzero(pool).tolist(), donor})
    for _ in range(-int(batches.sum()) % processes):
        most = max(candidates, key=lambda i: utterances[i] / batches[i])
        if utterances[most] <= batches[most]:
            return None
        batches[most] += 1
    return batches


def _batches(layout: Layout) -> tuple[IntArray, IntArray]:
    """Return where each batch of the dealt row begins, and its size."""
    run = np.repeat(np.arange(len(layout.batches)), layout.batches)
    number = np.arange(len(run)) - (np.cumsum(layout.batches) - layout.batches)[run]
    size, more = np.divmod(layout.utterances, layout.batches)
    sizes = size[run] + (number < more[run])
    return np.cumsum(sizes) - sizes, sizes


def _deal(rows: IntArray, layout: Layout) -> IntArray:
    """Deal each run like cards, so that its batches are alike, and lay batch behind batch."""
    if int(layout.batches.max()) == 1:
        return rows
    run = np.repeat(np.arange(len(layout.batches)), layout.utterances)
    first = (np.cumsum(layout.utterances) - layout.utterances)[run]
    size, more = np.divmod(layout.utterances, layout.batches)
    turn, batch = np.divmod(np.arange(len(rows)) - first, layout.batches[run])
    dealt = np.empty_like(rows)
    dealt[first + batch * size[run] + np.minimum(batch, more[run]) + turn] = rows
    return dealt

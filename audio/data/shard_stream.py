"""Shards read by many at once, shuffled in bounded memory, and gone on with where a run stopped.

stream = ShardStream(shards_of("train"), seed=1, shuffle=1000, epochs=None, rank=0, ranks=2)
for sample in stream:
    ...
    save(stream.state_dict())
"""

import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import IterableDataset, get_worker_info

from echoic.audio.data.shards import Sample, Shard, ShardError, numbered_samples, shard_name

log = logging.getLogger(__name__)

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_NUMBERS = ("epoch", "shard", "sample", "drawn")


class _Place(NamedTuple):
    """Where a sample is: the shard in the order of its reader's epoch, and its number there."""

    shard: int
    sample: int


class ShardStream(IterableDataset[Sample]):
    """The samples of shards, each once an epoch, by one of the processes and their workers.

    Shards are dealt out whole, so a process may get some samples more than another: count steps,
    not epochs, where processes wait for each other. To iterate goes on where the state says, and
    begins anew after the last epoch; one iteration at a time.

    In a DataLoader with workers, the state is in these: torchdata's StatefulDataLoader asks for it
    there, and gives it back.

    Args:
        shards: paths or addresses, the same for all processes.
        seed: of the order.
        shuffle: samples among which the next one is drawn, in memory; shards are read in another
            order each epoch, too. 0 for all as they come.
        max_bytes: so many in memory, whatever `shuffle` says; and one sample.
        epochs: how many an iteration has; None for no end.
        rank: which process this is.
        ranks: how many there are.
        skip_bad: leave out the rest of a shard that cannot be read on, and tell it in the log.

    Raises:
        ValueError: a number is none that can be.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        seed: int = 0,
        shuffle: int = 0,
        max_bytes: int = 2**28,
        epochs: int | None = 1,
        rank: int = 0,
        ranks: int = 1,
        skip_bad: bool = False,
    ) -> None:
        if shuffle < 0 or max_bytes < 1 or (epochs is not None and epochs < 1):
            raise ValueError(
                f"shuffle {shuffle}, max_bytes {max_bytes}, epochs {epochs}: expected 0 or more, "
                "1 or more, and 1 or more or None"
            )
        if not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} of {ranks}: expected 0 to {ranks - 1}")
        self.shards = list(shards)
        self.seed = seed
        self.shuffle = shuffle
        self.max_bytes = max_bytes
        self.epochs = epochs
        self.rank = rank
        self.ranks = ranks
        self.skip_bad = skip_bad
        self._epoch = self._drawn = 0
        self._next = _Place(0, 0)
        self._waiting: list[tuple[_Place, Sample | None]] = []  # None until it is read again
        self._saved_reader: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Sample]:
        """Read on.

        Raises:
            ShardError: a shard cannot be read on.
            ValueError: there are fewer shards than readers, or the state is of another reader.
        """
        reader, readers = self._reader()
        if self._saved_reader not in (None, (reader, readers)):
            raise ValueError(
                f"the state is of reader {self._saved_reader}, this is {(reader, readers)}: go on "
                "with as many processes and workers"
            )
        if len(self.shards) < readers:
            raise ValueError(
                f"{len(self.shards)} shards for {readers} processes and workers; make smaller ones"
            )
        while self.epochs is None or self._epoch < self.epochs:
            yield from self._pass(reader, readers)
            self._epoch += 1
            self._drawn, self._next = 0, _Place(0, 0)
        self._epoch = 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration is, in numbers and lists of them.

        What waits in memory to be drawn is told by its place, and read again by who goes on.
        """
        return {
            "epoch": self._epoch,
            "shard": self._next.shard,
            "sample": self._next.sample,
            "drawn": self._drawn,
            "waiting": [list(place) for place, _ in self._waiting],
            "reader": list(self._reader()),
            "order": self._order(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another stream was.

        Raises:
            ValueError: it is no such state, or that of another order: the shards, the seed and the
                sizes of the shuffle have to be the same.
        """
        try:
            numbers = [int(state[name]) for name in _NUMBERS]
            waiting = [_Place(int(shard), int(sample)) for shard, sample in state["waiting"]]
            reader, readers = map(int, state["reader"])
            order = list(state["order"])
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f"not a state of a ShardStream ({e}); start anew") from e
        if order != self._order():
            raise ValueError(
                f"the state is of {order} (shards, seed, shuffle, bytes), this is {self._order()}: "
                "go on with the same"
            )
        self._epoch, shard, sample, self._drawn = numbers
        self._next = _Place(shard, sample)
        self._waiting = [(place, None) for place in waiting]
        self._saved_reader = (reader, readers)

    def _pass(self, reader: int, readers: int) -> Iterator[Sample]:
        """Read what is left of an epoch; the state is always that after the last sample."""
        own = self._shards_of(reader, readers)
        waiting = self._waiting = self._read_again(own)
        size = sum(_bytes_in(sample) for _, sample in waiting)
        coming = self._coming(own)
        more = True
        while True:
            while more and (not waiting or (len(waiting) < self.shuffle and size < self.max_bytes)):
                found = next(coming, None)
                if found is None:
                    more = False
                else:
                    waiting.append(found)
                    size += _bytes_in(found[1])
            if not waiting:
                return
            index = self._draw(len(waiting), reader)
            waiting[index], waiting[-1] = waiting[-1], waiting[index]
            _, sample = waiting.pop()
            assert sample is not None
            size -= _bytes_in(sample)
            self._drawn += 1
            yield sample

    def _coming(self, own: list[Shard]) -> Iterator[tuple[_Place, Sample]]:
        """Read samples in the order of shards; the state is moved behind each before it goes."""
        while self._next.shard < len(own):
            index, first = self._next
            try:
                for number, sample in numbered_samples(own[index], lambda n, f=first: n >= f):
                    self._next = _Place(index, number + 1)
                    yield _Place(index, number), sample
            except ShardError as e:
                if not self.skip_bad:
                    raise
                log.warning("left out: %s", e)
            self._next = _Place(index + 1, 0)

    def _read_again(self, own: list[Shard]) -> "list[tuple[_Place, Sample | None]]":
        """Read what waited to be drawn when the state was saved, each shard once."""
        wanted: dict[int, set[int]] = {}
        for place, _ in self._waiting:
            wanted.setdefault(place.shard, set()).add(place.sample)
        found: dict[_Place, Sample] = {}
        for index, numbers in wanted.items():
            missing = set(numbers)
            for number, sample in numbered_samples(own[index], numbers.__contains__):
                found[_Place(index, number)] = sample
                missing.discard(number)
                if not missing:
                    break
            if missing:
                raise ValueError(
                    f"{shard_name(own[index])} has no sample {min(missing)} any more; start anew"
                )
        return [(place, found[place]) for place, _ in self._waiting]

    def _draw(self, count: int, reader: int) -> int:
        """Draw a number below a count, by what is counted alone: no generator has to be saved."""
        if not self.shuffle:
            return 0
        return random.Random(f"{self.seed} {self._epoch} {reader} {self._drawn}").randrange(count)

    def _shards_of(self, reader: int, readers: int) -> list[Shard]:
        order = list(range(len(self.shards)))
        if self.shuffle:
            random.Random(f"{self.seed} {self._epoch}").shuffle(order)
        return [self.shards[index] for index in order[reader::readers]]

    def _reader(self) -> tuple[int, int]:
        """Return which of all readers this is, and how many there are."""
        worker = get_worker_info()
        workers, own = (1, 0) if worker is None else (worker.num_workers, worker.id)
        return self.rank * workers + own, self.ranks * workers

    def _order(self) -> list[int]:
        return [len(self.shards), self.seed, self.shuffle, self.max_bytes]


def shards_of(text: str) -> list[str]:
    """Return the shards that a text names.

    Args:
        text: a folder, whose .tar files are taken; or a path or address, with {000000..000031} for
            numbers with so many digits where there are several.

    Raises:
        ValueError: a folder without shards, or numbers that run backwards.

    >>> shards_of("https://example.org/train-{098..100}.tar")[1:]
    ['https://example.org/train-099.tar', 'https://example.org/train-100.tar']
    """
    folder = Path(text)
    if folder.is_dir():
        found = sorted(str(path) for path in folder.glob("*.tar") if path.name[0] != ".")
        if not found:
            raise ValueError(f"{text} has no .tar files; make some with echoic data shard")
        return found
    span = _RANGE.search(text)
    if span is None:
        return [text]
    first, last = int(span[1]), int(span[2])
    if last < first:
        raise ValueError(f"{text}: {span[0]} runs backwards; write the smaller number first")
    before, after = text[: span.start()], text[span.end() :]
    return [f"{before}{n:0{len(span[1])}d}{after}" for n in range(first, last + 1)]


def _bytes_in(sample: Sample | None) -> int:
    return 0 if sample is None else sum(map(len, sample.files.values()))

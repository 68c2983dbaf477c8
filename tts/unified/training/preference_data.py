"""Batches of pairs of answers, by number."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from echoic.audio.augment import generator_for
from echoic.tts.unified.sequences import Document, Sequencer
from echoic.tts.unified.training.data import CodesData
from echoic.tts.unified.training.example_file import Codes, ExampleFile, Pair, read_examples
from echoic.tts.unified.training.packing import Pack, pack, rows_for


class PreferenceBatch(NamedTuple):
    """Pairs of answers.

    Attributes:
        number: of the batch.
        pack: each answer with what is given before it: document 2 i is the chosen one of pair i,
            2 i + 1 the rejected.
        pairs: how many.
    """

    number: int
    pack: Pack
    pairs: int


def collate_pairs(pairs: Sequence[Pair], sequencer: Sequencer, number: int = 0) -> PreferenceBatch:
    """Return a batch of pairs.

    Raises:
        ValueError: an empty segment, codes of another format, or nothing to answer.
    """
    for pair in pairs:
        if pair.given[-1].answer:
            raise ValueError(
                "what is given ends with an answer: give something to answer behind it"
            )
    documents = [
        sequencer.document([*pair.given, *answer])
        for pair in pairs
        for answer in (pair.chosen, pair.rejected)
    ]
    weights = [_last_answer(document) for document in documents]
    return PreferenceBatch(
        number, pack(documents, weights, rows_for(documents), number), len(pairs)
    )


def _last_answer(document: Document) -> Tensor:
    """Earlier answers are the same for both, and do not count."""
    return (document.answers == document.answers[-1]).float()


@functools.lru_cache(maxsize=2)
def _order(seed: int, turn: int, count: int) -> list[int]:
    generator = generator_for(f"{seed}/{turn}", "pairs")
    return torch.randperm(count, generator=generator).tolist()


@dataclass(frozen=True)
class _Maker:
    pairs: Sequence[Pair]
    sequencer: Sequencer
    size: int
    seed: int

    def __call__(self, number: int) -> PreferenceBatch:
        places = range(number * self.size, (number + 1) * self.size)
        chosen = [self.pairs[self._at(place)] for place in places]
        return collate_pairs(chosen, self.sequencer, number)

    def _at(self, place: int) -> int:
        """Return the pair at a place of an endless row of shuffled rounds."""
        turn, index = divmod(place, len(self.pairs))
        return _order(self.seed, turn, len(self.pairs))[index]


class PreferenceData(CodesData):
    """Pairs of answers in batches without end; batch n is a function of the seed and n.

    Args:
        train: file of pairs to learn from, see `example_file`.
        validation: file of pairs to watch.
        pairs: of each batch.
        positions: pairs with a longer document are left out.
        num_workers: processes that make batches.
        seed: of their order.

    Raises:
        ValueError: batches of nothing.
    """

    def __init__(
        self,
        train: str,
        validation: str | None = None,
        pairs: int = 8,
        positions: int = 4096,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers)
        if pairs < 1:
            raise ValueError(f"pairs is {pairs}, expected 1 or more")
        self.train = train
        self.validation = validation
        self.pairs = pairs
        self.positions = positions
        self.seed = seed
        self._files: dict[str, ExampleFile] = {}

    def codes(self) -> Codes:
        """Return what the codes of the data mean.

        Raises:
            ValueError: a file that cannot be read, without pairs, or of another codec.
        """
        paths = [self.train] if self.validation is None else [self.train, self.validation]
        found = [self._file(path) for path in paths]
        if found[0].codes != found[-1].codes:
            raise ValueError(f"{paths[-1]} and {paths[0]} are of different codecs")
        return found[0].codes

    def train_dataloader(self) -> DataLoader[PreferenceBatch]:
        """Return batches without end, from where a resumed run stopped."""
        sequencer = self.sequencer()
        return self.endless(
            _Maker(self._kept(self.train, sequencer), sequencer, self.pairs, self.seed)
        )

    def val_dataloader(self) -> DataLoader[PreferenceBatch] | list[DataLoader[PreferenceBatch]]:
        """Return every pair of the validation that fits once."""
        if self.validation is None:
            return []
        sequencer = self.sequencer()
        kept = self._kept(self.validation, sequencer)
        groups = [kept[start : start + self.pairs] for start in range(0, len(kept), self.pairs)]
        return self.once(lambda n: collate_pairs(groups[n], sequencer, n), len(groups))

    def _file(self, path: str) -> ExampleFile:
        if path not in self._files:
            found = read_examples(path)
            if not found.pairs:
                raise ValueError(f"{path} has no pairs to learn from")
            self._files[path] = found
        return self._files[path]

    def _kept(self, path: str, sequencer: Sequencer) -> list[Pair]:
        def longest(pair: Pair) -> int:
            both = (pair.chosen, pair.rejected)
            return max(len(sequencer.document([*pair.given, *answer]).ids) for answer in both)

        kept = [pair for pair in self._file(path).pairs if longest(pair) <= self.positions]
        if not kept:
            raise ValueError(f"{path} has no pair of {self.positions} ids or less: raise positions")
        return kept

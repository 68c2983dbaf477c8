"""Batches of coded speech, by number, and the Lightning data module around them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from echoic.audio.data.bucket_plan import BucketPlan
from echoic.audio.data.buckets import Buckets
from echoic.audio.data.numbered import NumberedBatches
from echoic.tts.layouts import EMPTY
from echoic.tts.layouts.layout import Layout
from echoic.tts.training.coded import CodedCorpus, Line
from echoic.tts.training.order import in_order

_NEVER = 2**31  # the first step of what is not there


class SpeechBatch(NamedTuple):
    """Utterances to learn from.

    Attributes:
        number: of the batch.
        text: (B, L) int64 ids.
        text_lengths: (B,) of them that count.
        steps: (B, S, C) int64, `EMPTY` where nothing is.
        step_lengths: (B,) of them that count.
        starts: (B, L) the first step of each id; None where the corpora do not say.
    """

    number: int
    text: Tensor
    text_lengths: Tensor
    steps: Tensor
    step_lengths: Tensor
    starts: Tensor | None = None


@dataclass(frozen=True, slots=True)
class CodedSource:
    """A corpus of codes to train on.

    Attributes:
        path: of its folder.
        split: only these utterances; "" for all.
        share: of the training, in proportion to the other corpora.
    """

    path: str
    split: str = ""
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeechBatches:
    """The size of batches.

    Attributes:
        seconds: of speech, padding included.
        utterances: the most.
        longest: seconds; longer utterances are left out.
        buckets: of durations, and for each of lengths of text.
    """

    seconds: float = 120.0
    utterances: int = 64
    longest: float = 20.0
    buckets: tuple[int, int] = (10, 2)


class SpeechBatchMaker:
    """Makes batch number n of some corpora.

    Args:
        corpora: what to draw from.
        rows: of each batch: pairs of corpus and utterance.
        layout: of the steps.
    """

    def __init__(self, corpora: Sequence[CodedCorpus], plan: BucketPlan, layout: Layout) -> None:
        self.corpora = list(corpora)
        self.plan = plan
        self.layout = layout

    def __call__(self, number: int) -> SpeechBatch:
        """Return a batch."""
        items = [(item.corpus, item.utterance) for item in self.plan(number)]
        return collate(self.corpora, items, self.layout, number)


def collate(
    corpora: Sequence[CodedCorpus], items: Sequence[tuple[int, int]], layout: Layout, number: int
) -> SpeechBatch:
    """Return a batch of utterances (corpus, utterance)."""
    lines = [corpora[c].lines[u] for c, u in items]
    texts = [torch.tensor(line.ids) for line in lines]
    steps = [layout.steps(corpora[c].frames(u)) for c, u in items]
    return SpeechBatch(
        number,
        pad_sequence(texts, batch_first=True),
        torch.tensor([len(text) for text in texts]),
        pad_sequence(steps, batch_first=True, padding_value=EMPTY),
        torch.tensor([len(step) for step in steps]),
        _starts(lines),
    )


def _starts(lines: Sequence[Line]) -> Tensor | None:
    starts = [torch.tensor(line.starts) for line in lines if line.starts is not None]
    if len(starts) < len(lines):
        return None
    return pad_sequence(starts, batch_first=True, padding_value=_NEVER)


class SpeechData(lightning.LightningDataModule):
    """Coded utterances in batches of like lengths, without end.

    Batch n is a function of the seed and n: a run that goes on from a checkpoint gets the batches
    that it would have had.

    Args:
        train: corpora to learn from.
        validation: corpora to watch; each utterance is seen once.
        batches: their size.
        num_workers: processes that make them.
        seed: of their order.
    """

    def __init__(
        self,
        train: list[CodedSource],
        validation: list[CodedSource] | None = None,
        batches: SpeechBatches | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not train:
            raise ValueError("train is empty: name a corpus of codes")
        self.train = train
        self.validation = validation or []
        self.batches = SpeechBatches() if batches is None else batches
        self.num_workers = num_workers
        self.seed = seed
        self.aligned = False
        """Whether only utterances are taken that it is known of when each unit is said."""
        self._corpora: dict[tuple[str, str], CodedCorpus] = {}

    def corpus(self, source: CodedSource) -> CodedCorpus:
        """Return a corpus, read once.

        Raises:
            ValueError: see `CodedCorpus`.
        """
        key = (source.path, source.split)
        if key not in self._corpora:
            self._corpora[key] = CodedCorpus(*key, aligned=self.aligned)
        return self._corpora[key]

    def check(self) -> None:
        """Read the corpora, so that what is wrong with them shows before a run starts.

        Raises:
            ValueError: see `CodedCorpus`; corpora of different codes or alphabets.
        """
        every = [self.corpus(source) for source in (*self.train, *self.validation)]
        for one in every:
            if one.settings != every[0].settings:
                raise ValueError(
                    f"{one.folder} and {every[0].folder} are of different codecs or alphabets: "
                    "code both by the same"
                )

    def train_dataloader(self) -> DataLoader[SpeechBatch]:
        """Return batches without end, from where a resumed run stopped."""
        trainer = self.trainer
        processes = 1 if trainer is None else trainer.world_size
        maker = SpeechBatchMaker(
            [self.corpus(source) for source in self.train], self.plan(processes), self._layout()
        )
        if trainer is None:
            return self._loader(NumberedBatches(maker))
        start = trainer.global_step * trainer.accumulate_grad_batches
        return self._loader(NumberedBatches(maker, start, processes, trainer.global_rank))

    def val_dataloader(self) -> DataLoader[SpeechBatch] | list[DataLoader[SpeechBatch]]:
        """Return every utterance of the validation once, split among the processes."""
        if not self.validation:
            return []
        corpora = [self.corpus(source) for source in self.validation]
        sizes = self.batches
        groups = in_order(
            [corpus.seconds() for corpus in corpora],
            batch=sizes.seconds,
            utterances=sizes.utterances,
            longest=sizes.longest,
        )
        layout, trainer = self._layout(), self.trainer
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)

        def make(number: int) -> SpeechBatch:
            return collate(corpora, groups[number], layout, number)

        own = len(range(rank, len(groups), processes))
        return self._loader(NumberedBatches(make, 0, processes, rank, stop=own))

    def plan(self, processes: int = 1) -> BucketPlan:
        """Return which utterances each batch of the training has."""
        corpora = [self.corpus(source) for source in self.train]
        kept = [self._kept(corpus) for corpus in corpora]
        seconds = np.concatenate([own[0] for own in kept])
        units = np.concatenate([own[1] for own in kept])
        buckets = Buckets.estimate(seconds, units, *self.batches.buckets)
        return BucketPlan(
            [corpus.seconds() for corpus in corpora],
            [[len(line.ids) for line in corpus.lines] for corpus in corpora],
            [source.share for source in self.train],
            buckets.sized(self.batches.seconds, self.batches.utterances),
            processes,
            self.seed,
        )

    def _kept(self, corpus: CodedCorpus) -> tuple[list[float], list[int]]:
        pairs = zip(corpus.seconds(), corpus.lines, strict=True)
        kept = [(s, len(line.ids)) for s, line in pairs if s <= self.batches.longest]
        if not kept:
            raise ValueError(
                f"{corpus.folder} has no utterance of {self.batches.longest} s or less: raise "
                "batches.longest"
            )
        return [s for s, _ in kept], [n for _, n in kept]

    def _layout(self) -> Layout:
        module = getattr(self.trainer, "lightning_module", None)
        if module is None:
            raise RuntimeError("the steps' layout is the model's: make batches with a trainer")
        return module.model.layout

    def _loader(self, batches: NumberedBatches[SpeechBatch]) -> DataLoader[SpeechBatch]:
        # A generator of its own: else a loader draws from the numbers that training draws from.
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, generator=torch.Generator()
        )

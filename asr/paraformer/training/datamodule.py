"""The data of a Paraformer's training as a Lightning data module."""

from dataclasses import replace
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.labels import Style
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.corpus import Corpus, Limits, missing_of, read_utterances
from echoic.asr.paraformer.training.data import Batch, BatchMaker
from echoic.asr.paraformer.training.effects import Effects
from echoic.asr.paraformer.training.plan import BatchConfig, Passes, in_order
from echoic.asr.paraformer.training.samples import RandomBatches
from echoic.audio.data.bucket_plan import BucketConfig, BucketPlan
from echoic.audio.data.manifest import Source
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.data.passes import Plan


class Lengths(NamedTuple):
    """Seconds and labels of every utterance of every corpus."""

    durations: list[list[float]]
    tokens: list[list[int]]


class ParaformerData(lightning.LightningDataModule):
    """Whole utterances in batches of like durations, or out of buckets, without end.

    Batch n is a function of the seed and n: a run that goes on from a checkpoint gets the batches
    that it would have had.

    Args:
        train: manifests with `audio`, `text` and, to save opening the files, `duration`.
        vocabulary: folder with `tokens.json` (`python -m echoic.recipes.prepare.vocabulary`), or a
            model's folder.
        validation: manifests to watch; each utterance is heard once, unchanged.
        labels: how texts are written, see `label_text`; as when the vocabulary was made.
        batches: their size.
        limits: which utterances are left out.
        augment: what happens to the sound of training; None for nothing.
        frontend: of the model.
        cache: keep all recordings in memory (115 MB an hour).
        num_workers: processes that make batches.
        seed: of everything that is drawn.
        buckets: of duration and length of labels, for batches with less padding of the labels, and
            of equal cost in all processes; `batches` says their size, unless saved buckets have
            sizes of their own. None for batches of like durations.
    """

    def __init__(
        self,
        train: list[Source],
        vocabulary: str,
        validation: list[Source] | None = None,
        labels: Style = "words",
        batches: BatchConfig | None = None,
        limits: Limits | None = None,
        augment: Effects | None = None,
        frontend: FrontendConfig | None = None,
        cache: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        buckets: BucketConfig | None = None,
    ) -> None:
        super().__init__()
        if not train:
            raise ValueError("train is empty: name a manifest with recordings and their texts")
        self.train = train
        self.validation = validation or []
        self.labels: Style = labels
        self.batches = BatchConfig() if batches is None else batches
        self.limits = Limits() if limits is None else limits
        self.augment = None if augment is None else augment.augment()
        speed = None if augment is None else augment.speed
        self._stretch = 1.0 if speed is None else max(1.0, 1 / speed.factor[0])
        self.frontend = FrontendConfig() if frontend is None else frontend
        self.cache = cache
        self.num_workers = num_workers
        self.seed = seed
        self.buckets = buckets
        self.tokenizer = Tokenizer.from_folder(vocabulary)
        self._corpora: dict[Source, Corpus] = {}

    def check(self) -> None:
        """Read the manifests, so that what is wrong with them shows before a run starts.

        Raises:
            ValueError: no utterances, no texts, recordings that are not there, or texts of another
                vocabulary.
            OSError: a manifest cannot be read.
        """
        for source in (*self.train, *self.validation):
            missing = missing_of(read_utterances(source, self.labels))
            if missing:
                raise ValueError(
                    f"{len(missing)} recordings of {source.path} are not there, the first is "
                    f"{missing[0]}: make the manifest again"
                )
            self._corpus(source)

    def lengths(self) -> Lengths:
        """Return how long the utterances of training are, as recorded.

        Raises:
            ValueError, OSError: see `check`.
        """
        corpora = [self._corpus(source) for source in self.train]
        return Lengths(
            [corpus.durations for corpus in corpora],
            [[len(ids) for ids in corpus.labels] for corpus in corpora],
        )

    def random_batches(self) -> RandomBatches:
        """Return what makes batches of any size, as long as the slowest speed of training."""
        return RandomBatches(self.frontend.sample_rate, len(self.tokenizer), self._stretch)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches without end, from where a resumed run stopped."""
        corpora = [self._corpus(source) for source in self.train]
        trainer = self.trainer
        plan = self._plan(1 if trainer is None else trainer.world_size)
        maker = BatchMaker(corpora, plan, self.augment, self.seed)
        if trainer is None:
            return self._loader(NumberedBatches(maker))
        start = trainer.global_step * trainer.accumulate_grad_batches
        return self._loader(NumberedBatches(maker, start, trainer.world_size, trainer.global_rank))

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return every utterance of the validation once, split among the processes.

        Raises:
            ValueError: there are fewer utterances than processes.
        """
        if not self.validation:
            return []
        corpora = [self._corpus(source) for source in self.validation]
        durations = [corpus.durations for corpus in corpora]
        trainer = self.trainer
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        batches = in_order(durations, self.batches)
        # A process without any would not come to where the others wait for its losses.
        if len(batches) < processes:
            batches = in_order(durations, replace(self.batches, utterances=1))
        if len(batches) < processes:
            raise ValueError(
                f"{len(batches)} utterances of validation for {processes} processes: name a "
                "manifest with more, or leave validation out"
            )
        maker = BatchMaker(corpora, batches.__getitem__)
        own = len(range(rank, len(batches), processes))
        return self._loader(NumberedBatches(maker, 0, processes, rank, stop=own))

    def _plan(self, processes: int) -> Plan:
        durations, tokens = self.lengths()
        shares = [source.share for source in self.train]
        if self.buckets is None:
            return Passes(durations, shares, self.batches, self.seed)
        buckets = self.buckets.find(
            np.concatenate(durations),
            np.concatenate(tokens),
            self.batches.seconds,
            self.batches.utterances,
        )
        return BucketPlan(
            durations, tokens, shares, buckets, processes, self.seed,
            self.buckets.jitter, self.buckets.strict,
        )  # fmt: skip

    def _corpus(self, source: Source) -> Corpus:
        key = replace(source, share=1.0)
        if key not in self._corpora:
            self._corpora[key] = Corpus(
                source.path,
                read_utterances(source, self.labels),
                self.tokenizer,
                self.frontend,
                self.limits,
                self.cache,
            )
        return self._corpora[key]

    def _loader(self, batches: NumberedBatches[Batch]) -> DataLoader[Batch]:
        # A generator of its own: else a loader draws from the numbers that training draws from.
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, generator=torch.Generator()
        )

"""The data of a language adapter's training, over whole utterances, as a Lightning data module."""

from dataclasses import replace
from typing import ClassVar

import lightning
import torch
from torch.utils.data import DataLoader

from echoic.asr.paraformer.training.effects import Effects
from echoic.asr.paraformer.training.plan import BatchConfig, Passes, in_order
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.model import SILENCE_KEPT
from echoic.asr.whisper.training.spoken import SpokenCorpus, WholeBatchMaker, read_spoken
from echoic.asr.whisper.training.whole import WholeBatch
from echoic.audio.augment import SpecAugment
from echoic.audio.data.manifest import Source
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.features.log_mel import Norm


class LanguageAdapterData(lightning.LightningDataModule):
    """Whole utterances of one language in batches of like durations, without end.

    Args:
        train: manifests with `audio`, `text` and, to save opening the files, `duration`; of one
            that has many languages, `lang` takes the rows of one.
        validation: manifests to watch; each utterance is heard once, unchanged.
        base: the model to adapt, whose prompt and features are taken.
        language: code of the speech.
        batches: their size.
        augment: what happens to the sound of training; None for nothing.
        spec_augment: what is hidden of its features; None for nothing.
        cache: keep all recordings in memory (115 MB an hour).
        num_workers: processes that make batches.
        seed: of everything that is drawn.
    """

    # What utterances become, see `WholeBatchMaker`.
    norm: ClassVar[Norm] = "global"
    silence: ClassVar[int] = SILENCE_KEPT

    def __init__(
        self,
        train: list[Source],
        validation: list[Source] | None = None,
        base: str = "base",
        language: str = "en",
        batches: BatchConfig | None = None,
        augment: Effects | None = None,
        spec_augment: SpecAugment | None = None,
        cache: bool = False,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not train:
            raise ValueError("train is empty: name a manifest with recordings and their texts")
        self.train = train
        self.validation = validation or []
        self.batches = BatchConfig() if batches is None else batches
        self.augment = None if augment is None else augment.augment()
        self.spec_augment = spec_augment
        self.cache = cache
        self.num_workers = num_workers
        self.seed = seed
        checkpoint = load_checkpoint(base)
        self.num_mels = checkpoint.config.num_mel_bins
        self.tokenizer = checkpoint.tokenizer
        multilingual = checkpoint.generation.is_multilingual
        self.prompt = self.tokenizer.prompt(language if multilingual else None)
        self._corpora: dict[Source, SpokenCorpus] = {}

    def check(self) -> None:
        """Read the manifests, so that what is wrong with them shows before a run starts.

        Raises:
            ValueError: no utterances with texts, or recordings that are not there.
            OSError: a manifest cannot be read.
        """
        for source in (*self.train, *self.validation):
            spoken = read_spoken(source, self.tokenizer)
            missing = [u.path for u in spoken if not u.path.is_file()]
            if missing:
                raise ValueError(
                    f"{len(missing)} recordings of {source.path} are not there, the first is "
                    f"{missing[0]}: make the manifest again"
                )
            self._corpus(source)

    def train_dataloader(self) -> DataLoader[WholeBatch]:
        """Return batches without end, from where a resumed run stopped."""
        corpora = [self._corpus(source) for source in self.train]
        shares = [source.share for source in self.train]
        plan = Passes([c.durations for c in corpora], shares, self.batches, self.seed)
        maker = WholeBatchMaker(
            corpora, plan, self.prompt, self.tokenizer.eot, num_mels=self.num_mels,
            norm=self.norm, silence=self.silence, augment=self.augment,
            spec_augment=self.spec_augment, seed=self.seed,
        )  # fmt: skip
        trainer = self.trainer
        if trainer is None:
            return self._loader(NumberedBatches(maker))
        start = trainer.global_step * trainer.accumulate_grad_batches
        return self._loader(NumberedBatches(maker, start, trainer.world_size, trainer.global_rank))

    def val_dataloader(self) -> DataLoader[WholeBatch] | list[DataLoader[WholeBatch]]:
        """Return every utterance of the validation once, split among the processes."""
        if not self.validation:
            return []
        corpora = [self._corpus(source) for source in self.validation]
        batches = in_order([corpus.durations for corpus in corpora], self.batches)
        maker = WholeBatchMaker(
            corpora,
            batches.__getitem__,
            self.prompt,
            self.tokenizer.eot,
            num_mels=self.num_mels,
            norm=self.norm,
            silence=self.silence,
        )
        trainer = self.trainer
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        own = len(range(rank, len(batches), processes))
        return self._loader(NumberedBatches(maker, 0, processes, rank, stop=own))

    def _corpus(self, source: Source) -> SpokenCorpus:
        key = replace(source, share=1.0)
        if key not in self._corpora:
            self._corpora[key] = SpokenCorpus(source, self.tokenizer, self.cache)
        return self._corpora[key]

    def _loader(self, batches: NumberedBatches[WholeBatch]) -> DataLoader[WholeBatch]:
        # A generator of its own: else a loader draws from the numbers that training draws from.
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, generator=torch.Generator()
        )

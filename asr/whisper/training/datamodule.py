"""The data of a run as a Lightning data module."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import lightning
from torch import Tensor
from torch.utils.data import DataLoader

from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.training.corpus import SAMPLE_RATE, read_corpus
from echoic.asr.whisper.training.data import Batch, BatchConfig, BatchMaker
from echoic.asr.whisper.training.plan import Form, Planner
from echoic.asr.whisper.training.schedule import Timing
from echoic.asr.whisper.training.windows import SoundChange, WindowConfig, WindowMaker
from echoic.audio.augment import Augment, AugmentConfig
from echoic.audio.data.numbered import NumberedBatches

# log10 units: an opening silence is not amplified, and speech is soon louder.
INITIAL_MAX = 0.0


@dataclass(frozen=True, slots=True)
class Corpus:
    """An aligned manifest (`python -m echoic.recipes.prepare.aligned`) and its share of windows."""

    manifest: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Shares:
    """How many training windows meet each effect of `echoic.audio.augment`, 0 to 1.

    Their speed is changed by `WindowConfig`, which moves the times too.
    """

    reverb: float = 0.15
    noise: float = 0.25
    gain: float = 0.8
    clipping: float = 0.05
    band: float = 0.1
    codec: float = 0.1

    def augment(self) -> Augment:
        """Return the effects with these probabilities."""
        defaults = AugmentConfig()
        effects = {
            f.name: replace(getattr(defaults, f.name), probability=getattr(self, f.name))
            for f in fields(self)
        }
        return Augment(AugmentConfig(**effects))


@dataclass(frozen=True, slots=True)
class Changed:
    """Augmentation of a window's sound."""

    augment: Augment

    def __call__(self, wav: Tensor, seed: int) -> Tensor:
        """Return the sound (N,) with the effects that the seed draws."""
        return self.augment(wav, SAMPLE_RATE, seed).wav


class CausalWhisperData(lightning.LightningDataModule):
    """Windows drawn from aligned corpora.

    Args:
        train: corpora to learn from.
        validation: corpora to watch; their windows are the same each time.
        base: the model to adapt, whose prompt and features are taken.
        language: code of the speech, for multilingual models; None for English.
        form: see `echoic.asr.whisper.training.plan`.
        timing: when tokens are said.
        windows: how they are put together.
        batches: their shape.
        augment: what happens to the sound of training windows; None for nothing.
        validation_batches: how many.
        num_workers: processes that make batches.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        train: list[Corpus],
        validation: list[Corpus] | None = None,
        base: str = "tiny.en",
        language: str | None = None,
        form: Form = "tail",
        timing: Timing | None = None,
        windows: WindowConfig | None = None,
        batches: BatchConfig | None = None,
        augment: Shares | None = None,
        validation_batches: int = 8,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train = train
        self.validation = validation or []
        self.timing = Timing() if timing is None else timing
        self.windows = WindowConfig() if windows is None else windows
        self.batches = BatchConfig() if batches is None else batches
        self.augment = augment
        self.validation_batches = validation_batches
        self.num_workers = num_workers
        self.seed = seed
        checkpoint = load_checkpoint(base)
        self.num_mels = checkpoint.config.num_mel_bins
        multilingual = checkpoint.generation.is_multilingual
        # As in a stream, see `echoic.asr.whisper.streaming.saying.Speaker`.
        prompt = checkpoint.tokenizer.prompt((language or "en") if multilingual else None)
        self.planner = Planner(prompt, checkpoint.tokenizer.eot, form)

    def check(self) -> None:
        """Read the corpora, so that what is wrong with them shows before a run starts.

        Raises:
            ValueError: a manifest without utterances, or one that names recordings not there.
            OSError: a manifest cannot be read.
        """
        for maker in self._windows((*self.train, *self.validation)):
            missing = [u.audio for u in maker.utterances if not (maker.folder / u.audio).is_file()]
            if missing:
                raise ValueError(
                    f"{len(missing)} recordings of the corpus are not there, the first is "
                    f"{maker.folder / missing[0]}: make its manifest again"
                )

    def streaming_settings(self) -> dict[str, Any]:
        """Return how a stream must be cut for a model trained on this, as plain values."""
        return {
            "block_frames": sorted(set(self.batches.block_sizes)),
            "left_context_frames": None,
            "initial_max": INITIAL_MAX,
            "delay_seconds": self.timing.delay_seconds,
            "hold_seconds": self.timing.hold_seconds,
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches without end, from where a resumed run stopped."""
        change = None if self.augment is None else Changed(self.augment.augment())
        maker = self._maker(self.train, self.seed, change)
        trainer = self.trainer
        start, processes, rank = 0, 1, 0
        if trainer is not None:
            start = trainer.global_step * trainer.accumulate_grad_batches
            processes, rank = trainer.world_size, trainer.global_rank
        return self._loader(NumberedBatches(maker, start, processes, rank))

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return the same few batches each time."""
        if not self.validation:
            return []
        maker = self._maker(self.validation, self.seed + 1)
        return self._loader(NumberedBatches(maker, stop=self.validation_batches))

    def _maker(
        self, corpora: Sequence[Corpus], seed: int, change: SoundChange | None = None
    ) -> BatchMaker:
        return BatchMaker(
            self._windows(corpora, change),
            [corpus.share for corpus in corpora],
            self.planner,
            self.timing,
            self.batches,
            num_mels=self.num_mels,
            initial_max=INITIAL_MAX,
            seed=seed,
        )

    def _windows(
        self, corpora: Sequence[Corpus], change: SoundChange | None = None
    ) -> list[WindowMaker]:
        makers = []
        for corpus in corpora:
            path = Path(corpus.manifest)
            utterances = read_corpus(path)
            if not utterances:
                raise ValueError(f"{path} holds no utterances: make it again")
            makers.append(
                WindowMaker(utterances, path.resolve().parent, self.windows, change=change)
            )
        return makers

    def _loader(self, stream: NumberedBatches[Batch]) -> DataLoader[Batch]:
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)

"""Batches of whole recordings, by number, and the Lightning data module around them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import lightning
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from echoic.audio.data.bucket_plan import BucketPlan
from echoic.audio.data.buckets import Buckets
from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.data.recordings import Recording, SoundBank, find_recordings
from echoic.audio.errors import AudioDecodeError
from echoic.tts.training.order import in_order

log = logging.getLogger(__name__)


class FlowBatch(NamedTuple):
    """Recordings to learn from.

    Attributes:
        number: of the batch.
        wav: (B, T) float32 in [-1, 1], 0 beyond each row's length.
        lengths: (B,) samples.
        speakers: (B, S); S = 0 where the data say nothing of speakers.
    """

    number: int
    wav: Tensor
    lengths: Tensor
    speakers: Tensor


@dataclass(frozen=True, slots=True)
class FlowBatches:
    """The size of batches.

    Attributes:
        seconds: of sound, padding included.
        utterances: the most.
        longest: seconds; longer recordings are left out.
        buckets: of durations.

    Raises:
        ValueError: nothing would be left.
    """

    seconds: float = 120.0
    utterances: int = 64
    longest: float = 20.0
    buckets: int = 10

    def __post_init__(self) -> None:
        if min(self.seconds, self.utterances, self.longest, self.buckets) <= 0:
            raise ValueError(f"{self}: expected more than 0")


@dataclass(frozen=True, slots=True)
class Spoken(Recording):
    """A recording, and who speaks in it; "" where nobody says."""

    speaker: str = ""


class FlowData(lightning.LightningDataModule):
    """Whole recordings in batches of like lengths, without end.

    Batch n is a function of the seed and n: a run that goes on from a checkpoint gets the batches
    that it would have had. Codes and spectra are made of them where the model is.

    Args:
        train: recordings to learn from.
        validation: recordings to watch; each is met once.
        sample_rate: of the spectra, in Hz; other recordings are resampled.
        batches: their size.
        speakers: safetensors file with a vector for each `speaker` of the manifests; None for
            none.
        cache: keep all recordings in memory (see `SoundBank`).
        num_workers: processes that make them.
        seed: of their order.
    """

    def __init__(
        self,
        train: list[Source],
        validation: list[Source] | None = None,
        sample_rate: int = 16_000,
        batches: FlowBatches | None = None,
        speakers: str | None = None,
        cache: bool = False,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not train:
            raise ValueError("train is empty: name a manifest or a folder of recordings")
        self.train = train
        self.validation = validation or []
        self.sample_rate = sample_rate
        self.batches = FlowBatches() if batches is None else batches
        self.speakers = speakers
        self.cache = cache
        self.num_workers = num_workers
        self.seed = seed
        self._banks: dict[Source, SoundBank[Spoken]] = {}
        self._vectors: dict[str, Tensor] | None = None

    @property
    def vectors(self) -> dict[str, Tensor]:
        """The vectors of speakers, by name.

        Raises:
            ValueError: the file is not there, damaged, or its vectors differ in size.
        """
        if self.speakers is None:
            return {}
        if self._vectors is None:
            try:
                found = load_file(self.speakers)
            except (OSError, SafetensorError) as e:
                raise ValueError(
                    f"{self.speakers} is not there or no safetensors file ({e}): give one with a "
                    "vector for each speaker"
                ) from e
            if not found or any(v.shape != next(iter(found.values())).shape or v.dim() != 1
                                for v in found.values()):  # fmt: skip
                raise ValueError(
                    f"{self.speakers}: expected vectors of one size, one for each speaker"
                )
            self._vectors = {name: vector.float() for name, vector in found.items()}
        return self._vectors

    def check(self) -> None:
        """Look for recordings and speakers, so that what is wrong shows before a run starts.

        Raises:
            ValueError: a source without recordings, some that are not there, or whose speaker has
                no vector.
            OSError: a manifest cannot be read.
        """
        for source in (*self.train, *self.validation):
            found = spoken(source)
            missing = [r.path for r in found if not Path(r.path).is_file()]
            if missing:
                raise ValueError(
                    f"{len(missing)} recordings of {source.path} are not there, the first is "
                    f"{missing[0]}: make the manifest again"
                )
            unknown = {r.speaker for r in found} - set(self.vectors)
            if self.speakers is not None and unknown:
                raise ValueError(
                    f"{self.speakers} has no vector for speaker {min(unknown)!r} of {source.path}"
                )

    def train_dataloader(self) -> DataLoader[FlowBatch]:
        """Return batches without end, from where a resumed run stopped."""
        trainer = self.trainer
        processes = 1 if trainer is None else trainer.world_size
        plan, banks = self.plan(processes), [self.bank(source) for source in self.train]
        vectors = self.vectors

        def make(number: int) -> FlowBatch:
            items = [(item.corpus, item.utterance) for item in plan(number)]
            return collate(banks, items, vectors, number)

        if trainer is None:
            return self._loader(NumberedBatches(make))
        start = trainer.global_step * trainer.accumulate_grad_batches
        return self._loader(NumberedBatches(make, start, processes, trainer.global_rank))

    def val_dataloader(self) -> DataLoader[FlowBatch] | list[DataLoader[FlowBatch]]:
        """Return every recording of the validation once, split among the processes."""
        if not self.validation:
            return []
        banks = [self.bank(source) for source in self.validation]
        sizes, vectors, trainer = self.batches, self.vectors, self.trainer
        groups = in_order(
            [self._seconds(source) for source in self.validation],
            batch=sizes.seconds,
            utterances=sizes.utterances,
            longest=sizes.longest,
        )
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)

        def make(number: int) -> FlowBatch:
            return collate(banks, groups[number], vectors, number)

        own = len(range(rank, len(groups), processes))
        return self._loader(NumberedBatches(make, 0, processes, rank, stop=own))

    def bank(self, source: Source) -> SoundBank[Spoken]:
        """Return the recordings of a source, opened once.

        Raises:
            ValueError, OSError: see `find_recordings` and `SoundBank`.
        """
        if source not in self._banks:
            self._banks[source] = SoundBank(spoken(source), self.sample_rate, self.cache)
        return self._banks[source]

    def plan(self, processes: int = 1) -> BucketPlan:
        """Return which recordings each batch of the training has.

        Raises:
            ValueError: none is of a length that is taken.
        """
        sizes, own = self.batches, [self._seconds(source) for source in self.train]
        kept = [s for part in own for s in part if s <= sizes.longest]
        # No texts: what lies in a bucket differs in length alone.
        buckets = Buckets.estimate(kept, [0] * len(kept), sizes.buckets, 1)
        return BucketPlan(
            own,
            [[0] * len(part) for part in own],
            [source.share for source in self.train],
            buckets.sized(sizes.seconds, sizes.utterances),
            processes,
            self.seed,
        )

    def _seconds(self, source: Source) -> list[float]:
        """Return how long each recording of a source lasts; one at least is short enough."""
        found = [length / self.sample_rate for length in self.bank(source).lengths]
        if min(found) > self.batches.longest:
            raise ValueError(
                f"{source.path} has no recording of {self.batches.longest:g} s or less: raise "
                "batches.longest"
            )
        return found

    def _loader(self, batches: NumberedBatches[FlowBatch]) -> DataLoader[FlowBatch]:
        # A generator of its own: else a loader draws from the numbers that training draws from.
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, generator=torch.Generator()
        )


def spoken(source: Source) -> list[Spoken]:
    """Return the recordings of a source and who speaks in them, where a manifest says so.

    Raises:
        ValueError, OSError: see `find_recordings`.
    """
    found = find_recordings(source)
    if Path(source.path).is_dir():
        return [Spoken(r.path, r.duration, r.offset) for r in found]
    who: Iterator[str] = (str(row.values.get("speaker") or "") for row in rows_of(source))
    return [Spoken(r.path, r.duration, r.offset, name) for r, name in zip(found, who, strict=True)]


def collate(
    banks: Sequence[SoundBank[Spoken]],
    items: Sequence[tuple[int, int]],
    vectors: dict[str, Tensor],
    number: int,
) -> FlowBatch:
    """Return a batch of recordings (bank, recording); damaged ones are left out with a warning.

    Raises:
        ValueError: all of them are damaged.
    """
    wavs, speakers = [], []
    for c, u in items:
        bank = banks[c]
        try:
            wavs.append(bank.stretch(u, 0, bank.lengths[u]))
        except AudioDecodeError as e:  # one bad file in many must not end a long run
            log.warning("left out of a batch: %s", e)
            continue
        speakers.append(vectors.get(bank.recordings[u].speaker, torch.zeros(0)))
    if not wavs:
        raise ValueError(f"all {len(items)} recordings of a batch are damaged: check the manifest")
    return FlowBatch(
        number,
        pad_sequence(wavs, batch_first=True),
        torch.tensor([len(wav) for wav in wavs]),
        torch.stack(speakers),
    )

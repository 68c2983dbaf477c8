"""The data of a codec's training as a Lightning data module."""

from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from echoic.audio.data.manifest import Source
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.data.recordings import Recording, SoundBank, find_recordings
from echoic.codecs.training.crops import CropConfig, CropMaker


class CodecData(lightning.LightningDataModule):
    """Sounds (B, T) cut at random from recordings, without end.

    Batch n of a process is a function of the seed, n and the process: a run that goes on from a
    checkpoint gets the batches that it would have had.

    Args:
        train: recordings to learn from.
        sample_rate: the codec's, in Hz; other recordings are resampled.
        crops: the shape of batches.
        validation: recordings to watch; their sounds are the same each time, and unchanged.
        validation_batches: how many batches of them.
        cache: keep all recordings in memory (see `SoundBank`).
        num_workers: processes that make batches; with `cache` the training itself makes them in
            next to no time.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        train: list[Source],
        sample_rate: int = 16_000,
        crops: CropConfig | None = None,
        validation: list[Source] | None = None,
        validation_batches: int = 8,
        cache: bool = False,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not train:
            raise ValueError("train is empty: name a manifest or a folder of recordings")
        self.train = train
        self.sample_rate = sample_rate
        self.crops = CropConfig() if crops is None else crops
        self.validation = validation or []
        self.validation_batches = validation_batches
        self.cache = cache
        self.num_workers = num_workers
        self.seed = seed
        self._banks: dict[Source, SoundBank] = {}

    def check(self) -> None:
        """Look for the recordings, so that what is wrong shows before a run starts.

        Raises:
            ValueError: a source without recordings, or one that names some that are not there.
            OSError: a manifest cannot be read.
        """
        for source in (*self.train, *self.validation):
            missing = [r.path for r in find_recordings(source) if not Path(r.path).is_file()]
            if missing:
                raise ValueError(
                    f"{len(missing)} recordings of {source.path} are not there, the first is "
                    f"{missing[0]}: make the manifest again"
                )

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return batches without end, from where a resumed run stopped."""
        maker = self._maker(self.train, self.crops, self.seed)
        trainer = self.trainer
        if trainer is None:
            return self._loader(NumberedBatches(maker))
        # `CodecTask` counts batches by it.
        position = trainer.global_step, trainer.world_size, trainer.global_rank
        return self._loader(NumberedBatches(maker, *position))

    def val_dataloader(self) -> DataLoader[Tensor] | list[DataLoader[Tensor]]:
        """Return the same few batches each time, split among the processes."""
        if not self.validation:
            return []
        crops = CropConfig(self.crops.seconds, self.crops.batch_size, gain_db=None)
        maker = self._maker(self.validation, crops, self.seed + 1)
        trainer = self.trainer
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        own = max(1, self.validation_batches // processes)
        return self._loader(NumberedBatches(maker, 0, processes, rank, stop=own))

    def _maker(self, sources: Sequence[Source], crops: CropConfig, seed: int) -> CropMaker:
        banks = [self._bank(source) for source in sources]
        return CropMaker(banks, [source.share for source in sources], crops, seed)

    def _bank(self, source: Source) -> SoundBank:
        if source not in self._banks:
            found: list[Recording] = find_recordings(source)
            self._banks[source] = SoundBank(found, self.sample_rate, self.cache)
        return self._banks[source]

    def _loader(self, stream: NumberedBatches[Tensor]) -> DataLoader[Tensor]:
        # A generator of its own: else a loader draws from the numbers that training draws from.
        return DataLoader(
            stream, batch_size=None, num_workers=self.num_workers, generator=torch.Generator()
        )

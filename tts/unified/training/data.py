"""Packed batches of a mix of tasks, by number, and the Lightning data module around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from echoic.audio.data.numbered import NumberedBatches
from echoic.tts.unified.sequences import Sequencer
from echoic.tts.unified.training.example_file import Codes
from echoic.tts.unified.training.loss import LossConfig
from echoic.tts.unified.training.packing import Pack, PackPlan, PackShape, groups_of, pack
from echoic.tts.unified.training.sources import MixSource, Part, codes_of, open_part

B = TypeVar("B")


@dataclass(frozen=True)
class PackMaker:
    """Makes batch number n.

    Attributes:
        parts: to draw from.
        sequencer: what makes their ids.
        loss: what counts.
        shape: of the batches.
        items: part and example of each document of batch n.
    """

    parts: Sequence[Part]
    sequencer: Sequencer
    loss: LossConfig
    shape: PackShape
    items: Callable[[int], Sequence[tuple[int, int]]]

    def __call__(self, number: int) -> Pack:
        """Return a batch."""
        documents = [
            self.sequencer.document(self.parts[p].segments(i)) for p, i in self.items(number)
        ]
        weights = [self.loss.weights(document) for document in documents]
        return pack(documents, weights, self.shape, number)


class CodesData(lightning.LightningDataModule):
    """Data whose ids are made by the task's model: what the data of all stages have in common.

    Args:
        num_workers: processes that make batches.
    """

    def __init__(self, num_workers: int) -> None:
        super().__init__()
        self.num_workers = num_workers

    def codes(self) -> Codes:
        """Return what the codes of the data mean.

        Raises:
            ValueError: data that cannot be read, or do not belong together.
        """
        raise AssertionError("each kind of data knows its own")

    def check(self) -> None:
        """Read the data, so that what is wrong with them shows before a run starts.

        Raises:
            ValueError: see `codes`.
        """
        self.codes()

    def sequencer(self) -> Sequencer:
        """Return what makes ids.

        Raises:
            RuntimeError: there is no task yet.
        """
        module = getattr(self.trainer, "lightning_module", None)
        if module is None:
            raise RuntimeError("the ids are those of the model: make batches with a trainer")
        return module.unified.sequencer

    def endless(self, make: Callable[[int], B]) -> DataLoader[B]:
        """Return batches without end, from where a resumed run stopped."""
        trainer = self.trainer
        if trainer is None:
            return self._loader(NumberedBatches(make))
        start = trainer.global_step * trainer.accumulate_grad_batches
        batches = NumberedBatches(make, start, trainer.world_size, trainer.global_rank)
        return self._loader(batches)

    def once(self, make: Callable[[int], B], count: int) -> DataLoader[B]:
        """Return `count` batches once, split among the processes."""
        trainer = self.trainer
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        own = len(range(rank, count, processes))
        return self._loader(NumberedBatches(make, 0, processes, rank, stop=own))

    def _loader(self, batches: NumberedBatches[B]) -> DataLoader[B]:
        # A generator of its own: else a loader draws from the numbers that training draws from.
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, generator=torch.Generator()
        )


class UnifiedData(CodesData):
    """Documents of a mix of tasks, packed.

    Batch n is a function of the seed and n: a run that goes on from a checkpoint gets the batches
    that it would have had.

    Args:
        train: what to learn from.
        validation: what to watch; each document is seen once.
        loss: what counts: everything in pre-training, answers alone in fine-tuning.
        shape: of the batches.
        num_workers: processes that make them.
        seed: of their order.

    Raises:
        ValueError: nothing to learn from.
    """

    def __init__(
        self,
        train: list[MixSource],
        validation: list[MixSource] | None = None,
        loss: LossConfig | None = None,
        shape: PackShape | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers)
        if not train:
            raise ValueError("train is empty: name texts, a corpus of codes or examples")
        self.train = train
        self.validation = validation or []
        self.loss = LossConfig() if loss is None else loss
        self.shape = PackShape() if shape is None else shape
        self.seed = seed
        self._parts: dict[tuple[str, str, str], Part] = {}

    def part(self, source: MixSource) -> Part:
        """Return what a source holds, read once.

        Raises:
            ValueError: it cannot be read.
        """
        key = (source.task, source.path, source.split)
        if key not in self._parts:
            self._parts[key] = open_part(source)
        return self._parts[key]

    def codes(self) -> Codes:
        """Return what the codes of the data mean.

        Raises:
            ValueError: data that cannot be read, without codes, or of different codecs.
        """
        every = [*self.train, *self.validation]
        return codes_of([self.part(source) for source in every], [s.path for s in every])

    def train_dataloader(self) -> DataLoader[Pack]:
        """Return batches without end, from where a resumed run stopped."""
        return self.endless(self.maker())

    def val_dataloader(self) -> DataLoader[Pack] | list[DataLoader[Pack]]:
        """Return every document of the validation that fits once."""
        if not self.validation:
            return []
        parts, sequencer = [self.part(source) for source in self.validation], self.sequencer()
        found = [
            (length, (p, i))
            for p, part in enumerate(parts)
            for i, length in enumerate(part.lengths(sequencer))
            if length <= self.shape.positions
        ]
        groups = groups_of([length for length, _ in found], self.shape)

        def items(number: int) -> list[tuple[int, int]]:
            return [found[index][1] for index in groups[number]]

        maker = PackMaker(parts, sequencer, self.loss, self.shape, items)
        return self.once(maker, len(groups))

    def maker(self) -> PackMaker:
        """Return what makes the batches of the training.

        Raises:
            ValueError: a source without a document that fits.
        """
        parts, sequencer = [self.part(source) for source in self.train], self.sequencer()
        lengths = [np.array(part.lengths(sequencer)) for part in parts]
        for source, own in zip(self.train, lengths, strict=True):
            if int(own.min()) > self.shape.positions:
                raise ValueError(
                    f"{source.path} has no document of {self.shape.positions} ids or less (the "
                    f"shortest has {int(own.min())}): raise shape.positions"
                )
        plan = PackPlan(lengths, [source.share for source in self.train], self.shape, self.seed)
        return PackMaker(parts, sequencer, self.loss, self.shape, plan)

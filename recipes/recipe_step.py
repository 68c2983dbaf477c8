"""Single steps of a recipe's own task, on batches of any size: what a batch costs is tried."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import IterableDataset

from echoic.recipes.recipe_parser import build_part

# Batch with (batch_size, seconds, tokens, number).
MakeBatch = Callable[[int, float, int, int], Any]
# Of a recipe's trainer, what changes the cost of a step.
SETTINGS = (
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "deterministic",
    "benchmark",
)


@dataclass(frozen=True, slots=True)
class RecipeStep:
    """Makes steps of training, each time from the building of the model on; can be pickled.

    A small step comes first, so that the optimizer has its state when the large one is made.

    Attributes:
        model: `class_path` and `init_args` of the task.
        trainer: `SETTINGS` of the recipe.
        batches: makes batches.
        device: "cpu", "cuda" or "cuda:1".
    """

    model: Mapping[str, Any]
    trainer: Mapping[str, Any]
    batches: MakeBatch
    device: str = "cpu"

    def __call__(self, batch_size: int, seconds: float, tokens: int) -> None:
        """Make a step with a batch for each way in which the task treats one.

        Raises:
            ValueError: the trainer's settings are none.
        """
        with _quiet():
            task = build_part(LightningModule, self.model)
            several = getattr(task, "numbers_of_each_kind", None)
            numbers = [0] if several is None else several()
            together = self.trainer.get("accumulate_grad_batches") or 1
            sizes = [(1, 0)] * together
            for number in numbers:
                sizes += [(1, 0)] * (together - 1) + [(batch_size, number)]
            try:
                trainer = self._trainer(1 + len(numbers))
                trainer.fit(task, _Batches(self.batches, sizes, seconds, tokens))
            except MisconfigurationException as e:
                raise ValueError(str(e)) from e

    def _trainer(self, steps: int) -> Trainer:
        on_gpu = self.device.startswith("cuda")
        return Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=[torch.device(self.device).index or 0] if on_gpu else 1,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            **self.trainer,
        )


class _Batches(IterableDataset[Any]):
    """Batches one after the other; as in a run, the next is made while one is used."""

    def __init__(
        self, make: MakeBatch, sizes: list[tuple[int, int]], seconds: float, tokens: int
    ) -> None:
        self.make = make
        self.sizes = sizes
        self.seconds = seconds
        self.tokens = tokens

    def __iter__(self) -> Iterator[Any]:
        for size, number in self.sizes:
            yield self.make(size, self.seconds, self.tokens, number)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from telling of each trial what it tells of a run."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

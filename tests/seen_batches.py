"""A callback that notes what each process of a training saw; recipes name it by its path."""

import json
from pathlib import Path
from typing import Any

import lightning
import torch


class SeenBatches(lightning.Callback):
    """Writes `seen-RANK.json`: batches, texts, and the sum of the weights at the end.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.numbers: list[int] = []
        self.texts: list[list[str]] = []

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.numbers.append(batch.number)
        self.texts.append(list(batch.texts))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        weights = torch.cat([p.detach().double().flatten() for p in pl_module.model.parameters()])
        values = {
            "steps": trainer.global_step,
            "processes": trainer.world_size,
            "numbers": self.numbers,
            "texts": self.texts,
            "weights": weights.abs().sum().item(),
        }
        (self.folder / f"seen-{trainer.global_rank}.json").write_text(json.dumps(values))


class SeenSteps(lightning.Callback):
    """Adds a line to `steps.jsonl` for each step as soon as it is done, whatever comes then.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "steps.jsonl"

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        values = {
            "step": trainer.global_step,
            "number": batch.number,
            "texts": list(batch.texts),
            "loss": outputs["loss"].item(),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")

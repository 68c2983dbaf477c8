"""Checkpoints that are written whole or not at all, wherever a run is killed."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer

# One for all of a folder, so that what a killed run left is written over.
PARTIAL_NAME = ".unfinished.part"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a file beside its place and moves it there.

    Lightning's own goes through the folder for temporary files, from which a file is not moved but
    copied where runs lie on another disk: a run that is killed then leaves half of `last.ckpt`.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; those of object stores go Lightning's own way."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(PARTIAL_NAME)
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, place)


def write_whole(trainer: Trainer) -> None:
    """Let a trainer write its checkpoints so, unless its strategy has a way of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()

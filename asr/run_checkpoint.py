"""What a training run's checkpoint holds: tensors and plain values, never code."""

from pathlib import Path
from typing import Any

import torch

from echoic.asr.errors import CheckpointError


def read_checkpoint(path: str | Path, key: str, what: str, task: str) -> dict[str, Any]:
    """Read a checkpoint that `echoic train fit` wrote.

    Args:
        path: a .ckpt file.
        key: that the task's checkpoints have.
        what: is trained by it, for people.
        task: its name.

    Raises:
        CheckpointError: not there, or not such a checkpoint.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise CheckpointError(f"{path} is not there; give a .ckpt file of a run") from e
    except Exception as e:  # the loader raises pickle, zip, OS, key and runtime errors alike
        raise CheckpointError(
            f"{path} was refused: not a checkpoint of tensors and plain values "
            f"({type(e).__name__}); give one that `echoic train fit` wrote"
        ) from e
    if not isinstance(values, dict) or key not in values:
        raise CheckpointError(f"{path} holds no {what}; give a checkpoint of {task}")
    return values

"""What a run's checkpoint holds: tensors and plain values, never code."""

import pickle
from pathlib import Path
from typing import Any

import torch

from echoic.tts.errors import TtsError


def read_run(path: str | Path, key: str, what: str, task: str) -> dict[str, Any]:
    """Read a checkpoint that `echoic train fit` wrote.

    Args:
        path: a .ckpt file.
        key: that the task's checkpoints have.
        what: is trained by it, for people.
        task: its name.

    Raises:
        TtsError: not there, or not such a checkpoint.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise TtsError(f"{path} is not there: give a .ckpt file of a run") from e
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as e:
        raise TtsError(
            f"{path} was refused: not a checkpoint of tensors and plain values "
            f"({type(e).__name__}); give one that `echoic train fit` wrote"
        ) from e
    if not isinstance(values, dict) or key not in values:
        raise TtsError(f"{path} holds no {what}: give a checkpoint of {task}")
    return values


def weights_of(
    state: dict[str, Any], prefix: str, average: str, *, averaged: bool
) -> dict[str, Any]:
    """Return the weights of a run's model by their own names.

    Args:
        state: of the checkpoint.
        prefix: of the weights of the last step.
        average: of the running mean.
        averaged: take the mean, where there is one.
    """
    if averaged and any(name.startswith(average) for name in state):
        prefix = average
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

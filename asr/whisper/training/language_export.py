"""From checkpoints of a language adapter's training to the adapter."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echoic.asr.run_checkpoint import read_checkpoint
from echoic.asr.whisper.hub import find_folder
from echoic.asr.whisper.language_adapter import LanguageAdapter, LanguageAdapterConfig
from echoic.asr.whisper.language_merge import merge_language_adapters
from echoic.asr.whisper.training.language_task import ADAPTER_KEY, MEAN_KEY


def adapter_of_run(path: str | Path, *, averaged: bool = True) -> LanguageAdapter:
    """Read the adapter of a checkpoint of `LanguageAdapterTask`: tensors and values, never code.

    Args:
        path: a `.ckpt` of `echoic train fit`.
        averaged: the running mean of the weights, where there is one; else those of the last step.

    Raises:
        CheckpointError: no such file, or not such a checkpoint.
    """
    values = _read(path)
    config = LanguageAdapterConfig(**values[ADAPTER_KEY])
    base = config.base_model
    if Path(base).is_dir() and find_folder(base) == Path(base):  # and no name in the box
        config = replace(config, base_model=str(Path(base).resolve()))
    state = values["state_dict"]
    if averaged:
        state = values.get(MEAN_KEY, state)
    return LanguageAdapter(config, {name: value.float() for name, value in state.items()})


def adapter_of_runs(paths: Sequence[str | Path], *, averaged: bool = True) -> LanguageAdapter:
    """Return the adapter of a checkpoint, or the mean of those of several.

    Args:
        paths: see `adapter_of_run`, one or more.
        averaged: see `adapter_of_run`.

    Raises:
        CheckpointError: see `adapter_of_run`; or they are of different models or sizes.
    """
    return merge_language_adapters([adapter_of_run(path, averaged=averaged) for path in paths])


def _read(path: str | Path) -> dict[str, Any]:
    return read_checkpoint(path, ADAPTER_KEY, "language adapter", "LanguageAdapterTask")

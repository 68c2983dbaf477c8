"""From checkpoints of a training to a model, or to the mean of several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import ParaformerConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.optimization import mean_of
from echoic.asr.run_checkpoint import read_checkpoint

#: What a checkpoint of `ParaformerTask` holds beside Lightning's own keys.
MODEL_KEY = "paraformer"
AVERAGE_PREFIX, MODEL_PREFIX = "average.model.", "model."


def describe(model: Paraformer) -> dict[str, Any]:
    """Return config and vocabulary as plain values and tensors, for a checkpoint."""
    tokenizer = model.tokenizer
    pieces = tokenizer.pieces
    return {
        "config": model.config.to_dict(),
        "tokens": list(tokenizer.tokens),
        "seg_dict": {word: list(parts) for word, parts in tokenizer.seg_dict.items()},
        "pieces": None if pieces is None else torch.tensor(list(pieces), dtype=torch.uint8),
    }


def read_run(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of `ParaformerTask`: tensors and plain values, never code.

    Raises:
        CheckpointError: not there, or not such a checkpoint.
    """
    return read_checkpoint(path, MODEL_KEY, "Paraformer", "ParaformerTask")


def model_of_runs(paths: Sequence[str | Path], *, averaged: bool = True) -> Paraformer:
    """Return the model of a checkpoint, or the mean of those of several, ready to recognise.

    Args:
        paths: see `read_run`, one or more.
        averaged: the running mean of the weights, where there is one; else those of the last step.

    Raises:
        CheckpointError: see `read_run`; or they are not of one model.
    """
    runs = [read_run(path) for path in paths]
    if any(_identity(run) != _identity(runs[0]) for run in runs):
        raise CheckpointError(
            f"{', '.join(map(str, paths))} are of different models or vocabularies; give "
            "checkpoints of one run"
        )
    told = runs[0][MODEL_KEY]
    pieces = told["pieces"]
    tokenizer = Tokenizer(
        told["tokens"], told["seg_dict"], None if pieces is None else bytes(pieces.tolist())
    )
    model = Paraformer(ParaformerConfig.from_dict(told["config"]), tokenizer)
    try:
        model.load_state_dict(mean_of([_weights(run["state_dict"], averaged) for run in runs]))
    except (ValueError, RuntimeError) as e:
        raise CheckpointError(f"{paths[0]}: its weights are not those of its config ({e})") from e
    return model.eval()


def any_model(source: str) -> Paraformer:
    """Return the model of a run (a .ckpt file), or a folder, a name or an id.

    Raises:
        CheckpointError: it is not there.
    """
    if source.endswith(".ckpt"):
        return model_of_runs([source])
    return Paraformer.from_pretrained(source)


def _identity(run: Mapping[str, Any]) -> tuple[Any, ...]:
    return run[MODEL_KEY]["config"], run[MODEL_KEY]["tokens"]


def _weights(state: Mapping[str, Tensor], averaged: bool) -> dict[str, Tensor]:
    mean = averaged and any(name.startswith(AVERAGE_PREFIX) for name in state)
    prefix = AVERAGE_PREFIX if mean else MODEL_PREFIX
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

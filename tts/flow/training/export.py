"""From a run's checkpoint to a flow or a vocoder."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from echoic.codecs.settings import build
from echoic.tts.errors import TtsError
from echoic.tts.flow.config import FlowConfig
from echoic.tts.flow.model import FlowModel
from echoic.tts.flow.training import task, vocoder_task
from echoic.tts.flow.training.learner import AVERAGE_PREFIX, MODEL_PREFIX
from echoic.tts.flow.vocoder import Vocoder, VocoderConfig


class TrainedFlow(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        model: in evaluation mode; the average, where the run had one.
        codec_hash: of the codec whose codes it learned.
    """

    model: FlowModel
    codec_hash: str


def flow_of_run(path: str | Path, *, averaged: bool = True) -> TrainedFlow:
    """Read a checkpoint of `FlowTask`: tensors and plain values, never code.

    Args:
        path: a .ckpt file.
        averaged: the running mean, where there is one; else the last step's weights.

    Raises:
        TtsError: not there, or not such a checkpoint.
    """
    values = _read(path, task.SETTINGS_KEY, "flow", "FlowTask")
    settings = values[task.SETTINGS_KEY]
    model = FlowModel(build(FlowConfig, settings["flow"], "flow."))
    _load(model, values["state_dict"], averaged)
    return TrainedFlow(model.eval(), settings["codec_hash"])


def vocoder_of_run(path: str | Path, *, averaged: bool = True) -> Vocoder:
    """Read a checkpoint of `VocoderTask`; for the arguments and errors see `flow_of_run`."""
    values = _read(path, vocoder_task.SETTINGS_KEY, "vocoder", "VocoderTask")
    settings = values[vocoder_task.SETTINGS_KEY]
    model = Vocoder(build(VocoderConfig, settings["vocoder"], "vocoder."))
    _load(model, values["state_dict"], averaged)
    return model.eval()


def _read(path: str | Path, key: str, what: str, by: str) -> dict[str, Any]:
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
        raise TtsError(f"{path} holds no {what}: give a checkpoint of {by}")
    return values


def _load(model: nn.Module, state: dict[str, Any], averaged: bool) -> None:
    has_average = any(name.startswith(AVERAGE_PREFIX) for name in state)
    prefix = AVERAGE_PREFIX if averaged and has_average else MODEL_PREFIX
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    model.load_state_dict(own)

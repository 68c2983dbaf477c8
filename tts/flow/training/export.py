"""From a run's checkpoint to a flow or a vocoder."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from echoic.codecs.settings import build
from echoic.tts.flow.config import FlowConfig
from echoic.tts.flow.model import FlowModel
from echoic.tts.flow.training import task, vocoder_task
from echoic.tts.flow.training.learner import AVERAGE_PREFIX, MODEL_PREFIX
from echoic.tts.flow.vocoder import Vocoder, VocoderConfig
from echoic.tts.training.checkpoint import read_run, weights_of


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
    values = read_run(path, task.SETTINGS_KEY, "flow", "FlowTask")
    settings = values[task.SETTINGS_KEY]
    model = FlowModel(build(FlowConfig, settings["flow"], "flow."))
    _load(model, values["state_dict"], averaged)
    return TrainedFlow(model.eval(), settings["codec_hash"])


def vocoder_of_run(path: str | Path, *, averaged: bool = True) -> Vocoder:
    """Read a checkpoint of `VocoderTask`; for the arguments and errors see `flow_of_run`."""
    values = read_run(path, vocoder_task.SETTINGS_KEY, "vocoder", "VocoderTask")
    settings = values[vocoder_task.SETTINGS_KEY]
    model = Vocoder(build(VocoderConfig, settings["vocoder"], "vocoder."))
    _load(model, values["state_dict"], averaged)
    return model.eval()


def _load(model: nn.Module, state: dict[str, Any], averaged: bool) -> None:
    model.load_state_dict(weights_of(state, MODEL_PREFIX, AVERAGE_PREFIX, averaged=averaged))

"""From a run's checkpoint to a model."""

from pathlib import Path
from typing import Any, NamedTuple

from echoic.tts.alignment.hmm import UnitModel
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.speech_config import SpeechLMConfig
from echoic.tts.training.checkpoint import read_run, weights_of
from echoic.tts.training.task import (
    AVERAGE_PREFIX,
    MODEL_PREFIX,
    SETTINGS_KEY,
    UNITS_KEY,
)


class Trained(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        model: in evaluation mode; the average, where the run had one.
        alphabet: of its text, see `alphabet_from_config`.
        codec_hash: of the codec whose codes it writes.
        language: of its text.
        g2p: where its phonemes come from; "" for letters.
        units: what aligns recordings, where text runs along; else None.
    """

    model: SpeechLM
    alphabet: dict[str, Any]
    codec_hash: str
    language: str
    g2p: str
    units: UnitModel | None = None


def model_of_run(path: str | Path, *, averaged: bool = True) -> Trained:
    """Read a checkpoint of `SpeechTask`: tensors and plain values, never code.

    Args:
        path: a .ckpt file.
        averaged: the running mean, where there is one; else the last step's weights.

    Raises:
        TtsError: not there, or not such a checkpoint.
    """
    values = read_run(path, SETTINGS_KEY, "speech language model", "SpeechTask")
    settings, state = values[SETTINGS_KEY], values["state_dict"]
    model = SpeechLM(SpeechLMConfig.from_dict(settings["lm"]))
    model.load_state_dict(weights_of(state, MODEL_PREFIX, AVERAGE_PREFIX, averaged=averaged))
    reading = (settings[k] for k in ("alphabet", "codec_hash", "language", "g2p"))
    found = values.get(UNITS_KEY)
    return Trained(model.eval(), *reading, units=None if found is None else UnitModel(**found))

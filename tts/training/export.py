"""From a run's checkpoint to a model."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch

from echoic.tts.alignment.hmm import UnitModel
from echoic.tts.errors import TtsError
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.speech_config import SpeechLMConfig
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
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise TtsError(f"{path} is not there: give a .ckpt file of a run") from e
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as e:
        raise TtsError(
            f"{path} was refused: not a checkpoint of tensors and plain values "
            f"({type(e).__name__}); give one that `echoic train fit` wrote"
        ) from e
    if not isinstance(values, dict) or SETTINGS_KEY not in values:
        raise TtsError(f"{path} holds no speech language model: give a checkpoint of SpeechTask")
    settings, state = values[SETTINGS_KEY], values["state_dict"]
    has_average = any(name.startswith(AVERAGE_PREFIX) for name in state)
    prefix = AVERAGE_PREFIX if averaged and has_average else MODEL_PREFIX
    model = SpeechLM(SpeechLMConfig.from_dict(settings["lm"]))
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    reading = (settings[k] for k in ("alphabet", "codec_hash", "language", "g2p"))
    found = values.get(UNITS_KEY)
    return Trained(model.eval(), *reading, units=None if found is None else UnitModel(**found))

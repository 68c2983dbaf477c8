"""A speech language model on disk: `config.json` and `model.safetensors`."""

from pathlib import Path
from typing import Any

import torch

from echoic.tts import folders
from echoic.tts.errors import TtsError
from echoic.tts.folders import CONFIG, read_weights, write_folder
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.speech_config import SpeechLMConfig

KIND = "speech-lm"


def save_speech_lm(
    model: SpeechLM,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    more: dict[str, Any] | None = None,
) -> None:
    """Write a folder that `load_speech_lm` reads.

    Args:
        model: what to write.
        folder: made if it is not there.
        dtype: of the stored weights; None as they are.
        more: further sections of `config.json`, such as the alphabet of the text.
    """
    values = {"model": KIND, "lm": model.config.to_dict(), **(more or {})}
    write_folder(model, folder, values, dtype)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return what `config.json` says.

    Raises:
        TtsError: no such folder, or of another kind of model.
    """
    return folders.read_config(folder, KIND, "speech model", "name its folder")


def load_speech_lm(folder: str | Path, *, device: str | torch.device = "cpu") -> SpeechLM:
    """Load a model in float32, in evaluation mode.

    Raises:
        TtsError: not there, damaged, or files that do not belong together.
    """
    values = read_config(folder)
    try:
        model = SpeechLM(SpeechLMConfig.from_dict(values.get("lm", {})))
    except ValueError as e:
        raise TtsError(f"{Path(folder) / CONFIG}: {e}") from e
    read_weights(model, folder)
    return model.to(device).eval()

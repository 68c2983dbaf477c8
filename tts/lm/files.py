"""A speech language model on disk: `config.json` and `model.safetensors`."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from echoic.tts.errors import TtsError
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.speech_config import SpeechLMConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"
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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = {"model": KIND, "lm": model.config.to_dict(), **(more or {})}
    text = json.dumps(values, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    state = {
        name: (value if dtype is None else value.to(dtype)).detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return what `config.json` says.

    Raises:
        TtsError: no such folder, or of another kind of model.
    """
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise TtsError(f"{folder} is no speech model (no {CONFIG}): name its folder") from e
    except (OSError, ValueError) as e:
        raise TtsError(f"{path} cannot be read ({e}): fetch it again") from e
    if not isinstance(values, dict) or values.get("model") != KIND:
        raise TtsError(f"{path} is of another kind of model: expected {KIND!r}")
    return values


def load_speech_lm(folder: str | Path, *, device: str | torch.device = "cpu") -> SpeechLM:
    """Load a model in float32, in evaluation mode.

    Raises:
        TtsError: not there, damaged, or files that do not belong together.
    """
    values, path = read_config(folder), Path(folder) / WEIGHTS
    try:
        model = SpeechLM(SpeechLMConfig.from_dict(values.get("lm", {})))
    except ValueError as e:
        raise TtsError(f"{Path(folder) / CONFIG}: {e}") from e
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as e:
        raise TtsError(f"{path} is not there or damaged ({e}): fetch it again") from e
    for name, value in state.items():
        if not bool(value.isfinite().all()):
            raise TtsError(f"{path}: {name} has NaN or infinite weights: fetch it again")
    try:
        model.load_state_dict(state)
    except RuntimeError as e:
        first = str(e).splitlines()[1].strip() if "\n" in str(e) else str(e)
        raise TtsError(f"{path} and {CONFIG} do not belong together: {first}") from e
    return model.to(device).eval()

"""Models on disk: a folder with `config.json` and `model.safetensors`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from echoic.tts.errors import TtsError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def write_folder(
    model: nn.Module, folder: str | Path, values: dict[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write a model.

    Args:
        model: whose weights.
        folder: made if it is not there.
        values: of `config.json`; "model" names the kind.
        dtype: of the stored weights; None as they are. Loading makes them float32 again.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    state = {
        name: (value if dtype is None else value.to(dtype)).detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def write_tensors(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: dict[str, str]
) -> None:
    """Write a safetensors file, all of it or nothing: what was there before stays until then.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(save(dict(tensors), metadata))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_config(folder: str | Path, kind: str, what: str, mend: str) -> dict[str, Any]:
    """Return what `config.json` says.

    Args:
        folder: of the model.
        kind: that it must be, as `config.json` calls it.
        what: that is, for people.
        mend: what to do where there is none.

    Raises:
        TtsError: not there, not to be read, or of another kind.
    """
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise TtsError(f"{folder} is no {what} (no {CONFIG}): {mend}") from e
    except (OSError, ValueError) as e:
        raise TtsError(f"{path} cannot be read ({e}): fetch or export it again") from e
    if not isinstance(values, dict) or values.get("model") != kind:
        raise TtsError(f"{path} is of another kind of model: expected {kind!r}")
    return values


def read_weights(model: nn.Module, folder: str | Path) -> None:
    """Load weights, as float32.

    Raises:
        TtsError: not there, damaged, or of a model with other settings.
    """
    path = Path(folder) / WEIGHTS
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as e:
        raise TtsError(f"{path} is not there or damaged ({e}): fetch or export it again") from e
    for name, value in state.items():
        if not bool(value.isfinite().all()):
            raise TtsError(
                f"{path}: {name} has NaN or infinite weights: fetch it, or export another step"
            )
    try:
        model.load_state_dict(state)
    except RuntimeError as e:
        first = str(e).splitlines()[1].strip() if "\n" in str(e) else str(e)
        raise TtsError(f"{path} and {CONFIG} do not belong together: {first}") from e

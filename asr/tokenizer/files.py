"""A speech tokenizer on disk: settings, weights, and the ids of what recognises its codes.

`config.json`, `model.safetensors` with the parts `front`, `book`, `back` and `decoder`, and the
files of Whisper's tokenizer. Who wants the codes alone reads the first two parts.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.whisper.config import GenerationConfig

CONFIG, WEIGHTS, GENERATION = "config.json", "model.safetensors", "generation_config.json"
KIND = "speech-tokenizer"
_TEXT_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json")


def is_tokenizer(folder: str | Path) -> bool:
    """Return whether a folder says that it is a speech tokenizer."""
    try:
        values = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("kind") == KIND


def save_tokenizer(
    folder: str | Path,
    config: TokenizerConfig,
    state: Mapping[str, Tensor],
    generation: GenerationConfig,
    text: Path,
    *,
    dtype: torch.dtype | None = None,
    description: str = "",
) -> None:
    """Write a folder.

    Args:
        folder: made if it does not exist.
        config: sizes.
        state: all parts, by their names in the file.
        generation: ids that steer recognition.
        text: folder that holds the files of Whisper's tokenizer.
        dtype: to store in; None as they are.
        description: one line for lists of models.

    Raises:
        OSError: it cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        name: (value if dtype is None else value.to(dtype)).detach().cpu().contiguous().clone()
        for name, value in state.items()
    }
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it readable to its owner alone
    values = {"kind": KIND, "description": description, "tokenizer": config.to_dict()}
    _write(folder / CONFIG, values)
    _write(folder / GENERATION, generation.to_dict())
    for name in _TEXT_FILES:
        if (text / name).is_file() and text.resolve() != folder.resolve():
            shutil.copyfile(text / name, folder / name)


def read_config(folder: str | Path) -> TokenizerConfig:
    """Return the sizes of a folder.

    Raises:
        CheckpointError: not there, or of another kind.
    """
    path = Path(folder) / CONFIG
    values = read_object(path)
    if values.get("kind") != KIND:
        raise CheckpointError(f"{path} is of another kind of model: expected {KIND!r}")
    try:
        return TokenizerConfig.from_dict(values["tokenizer"])
    except KeyError as e:
        raise CheckpointError(f"{path} has no section {e}; export the run again") from e
    except CheckpointError as e:
        raise CheckpointError(f"{path}: {e}") from e


def read_weights(
    folder: str | Path, part: str, shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """Return the weights of a part, as float32; nothing else is read from the disk.

    Args:
        folder: of the tokenizer.
        part: what their names begin with, such as "front.".
        shapes: that are expected, by the names behind it.

    Raises:
        CheckpointError: no such file, damaged, or other weights than expected.
    """
    path = Path(folder) / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(part)]  # noqa: SIM118
            state = {name.removeprefix(part): file.get_tensor(name).float() for name in names}
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} is not there or damaged ({e}): export it again") from e
    if {name: value.shape for name, value in state.items()} != dict(shapes):
        raise CheckpointError(f"{path} and {CONFIG} do not belong together: export them again")
    for name, value in state.items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{path}: {part}{name} holds NaN or infinity: export it again")
    return state


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises:
        CheckpointError: not there, or no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise CheckpointError(f"{path.parent} is no speech tokenizer: it has no {path.name}") from e
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} is not readable JSON: {e}") from e
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, expected an object")
    return values


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

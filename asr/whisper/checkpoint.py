"""Where Whisper models come from: the box, a Hugging Face id, or a folder on disk."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from echoic.asr import quantized
from echoic.asr.errors import CheckpointError
from echoic.asr.whisper import ct2
from echoic.asr.whisper.box import BoxModel, box_models
from echoic.asr.whisper.config import GenerationConfig, WhisperConfig
from echoic.asr.whisper.hub import find_folder
from echoic.asr.whisper.layout import check_state, untie
from echoic.asr.whisper.tokenizer import WhisperTokenizer

__all__ = [
    "BoxModel",
    "Checkpoint",
    "CheckpointError",
    "box_models",
    "load_checkpoint",
    "save_checkpoint",
]

_OLD_TOKENIZER_FILES = ("vocab.json", "merges.txt", "added_tokens.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as it lies on disk.

    Attributes:
        config: sizes.
        generation: ids that steer decoding.
        tokenizer: text to ids and back.
        state: tensors under Hugging Face's names ("model.encoder.conv1.weight", ...) on the CPU,
            without the output projection, which is the token embedding.
        name: what was asked for.
        folder: where it was found.
    """

    config: WhisperConfig
    generation: GenerationConfig
    tokenizer: WhisperTokenizer
    state: dict[str, Tensor]
    name: str
    folder: Path


def load_checkpoint(
    name_or_dir: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype | None = torch.float32,
) -> Checkpoint:
    """Load a Whisper model; no code from the files is ever run.

    Args:
        name_or_dir: a name in the box ("tiny.en"), a short name ("small", "turbo") or id of a
            Hugging Face repository, or a folder with safetensors, with PyTorch weights that hold
            nothing but tensors, or in faster-whisper's format.
        revision: branch, tag or commit of a Hugging Face repository.
        dtype: of the tensors; None keeps the stored one (bytes become float32).

    Raises:
        CheckpointError: not found or not a whole Whisper model, in one line that says why.
    """
    folder = find_folder(name_or_dir, revision)
    with _whole_messages(folder):
        return _load(folder, str(name_or_dir), dtype)


def _load(folder: Path, name: str, dtype: torch.dtype | None) -> Checkpoint:
    if ct2.is_ct2_folder(folder):
        values, generation, state = ct2.load_ct2(folder, dtype)
    else:
        values = _read_object(folder / "config.json")
        generation = _generation_values(folder, values)
        state = _load_state(folder, dtype)
    config = WhisperConfig.from_dict(values)
    check_state(state, config, str(folder))
    _check_finite(state, folder)
    tokenizer = WhisperTokenizer.from_folder(folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, "
            f"the model only {config.vocab_size}"
        )
    return Checkpoint(
        config=config,
        generation=_generation(generation, config, tokenizer),
        tokenizer=tokenizer,
        state=state,
        name=name,
        folder=folder,
    )


def save_checkpoint(
    checkpoint: Checkpoint, folder: str | Path, *, quantize: bool = False, description: str = ""
) -> None:
    """Write a folder that `load_checkpoint` reads, and unquantised Hugging Face's Whisper, too.

    Args:
        checkpoint: what to write; the tokenizer's files are copied from its folder.
        folder: made if it does not exist.
        quantize: whether to store matrices in eight bits.
        description: one line for lists of models, kept in `config.json`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if quantize:
        quantized.save_quantized(checkpoint.state, folder / "model.safetensors")
    else:
        tensors = {name: tensor.contiguous() for name, tensor in checkpoint.state.items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = checkpoint.config.to_dict()
    if description:
        config["description"] = description
    _write_object(folder / "config.json", config)
    _write_object(folder / "generation_config.json", checkpoint.generation.to_dict())
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable to its owner alone
    _copy_tokenizer(checkpoint.folder, folder)


def _copy_tokenizer(source: Path, folder: Path) -> None:
    whole = (source / "tokenizer.json").is_file()
    for name in ("tokenizer.json",) if whole else _OLD_TOKENIZER_FILES:
        if source.resolve() != folder.resolve():
            shutil.copyfile(source / name, folder / name)


@contextmanager
def _whole_messages(folder: Path) -> Iterator[None]:
    """Put the folder in front of messages that do not name it, and a remedy behind those without.

    A broken file says what is wrong with it in a few dozen places; what to do is always the same.
    """
    try:
        yield
    except CheckpointError as e:
        text = " ".join(str(e).split())
        where = "" if str(folder) in text else f"{folder}: "
        mend = "" if ";" in text else "; fetch or convert the model again, or choose another by -m"
        raise CheckpointError(f"{where}{text}{mend}") from e


def _check_finite(state: Mapping[str, Tensor], folder: Path) -> None:
    for name, tensor in state.items():
        if not math.isfinite(tensor.sum(dtype=torch.float32)):
            raise CheckpointError(f"{folder}: {name} holds NaN or infinity")


def _generation(
    values: Mapping[str, Any], config: WhisperConfig, tokenizer: WhisperTokenizer
) -> GenerationConfig:
    try:
        return GenerationConfig.from_dict(values, config, tokenizer)
    except (TypeError, ValueError, AttributeError, OverflowError) as e:
        if isinstance(e, CheckpointError):
            raise
        raise CheckpointError(f"generation_config.json holds a value of a wrong kind: {e}") from e


def _load_state(folder: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() and quantized.is_quantized(whole):
        return quantized.load_quantized(whole, dtype or torch.float32)
    if whole.is_file():
        state = _read_safetensors(whole)
    elif index.is_file():
        state = _read_shards(folder, index)
    else:
        state = _read_pickle(folder)
    state = untie(state, str(folder))
    return state if dtype is None else {name: _cast(t, dtype) for name, t in state.items()}


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {e}") from e


def _read_shards(folder: Path, index: Path) -> dict[str, Tensor]:
    names = _read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index} has no weight_map")
    state: dict[str, Tensor] = {}
    for shard in sorted(set(names.values())):
        # The index comes from outside: a shard lies in the folder and nowhere else.
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{index} names the shard {shard!r}, expected a plain file name")
        state |= _read_safetensors(folder / shard)
    return state


def _read_pickle(folder: Path) -> dict[str, Tensor]:
    """PyTorch's own format, by the loader that builds tensors and refuses everything else."""
    found = [folder / "pytorch_model.bin", *sorted(folder.glob("*.pt"))]
    path = next((p for p in found if p.is_file()), None)
    if path is None:
        raise CheckpointError(
            f"{folder} has no weights: expected model.safetensors, its index, or model.bin"
        )
    try:
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as e:  # the loader raises pickle, zip, OS and runtime errors alike
        raise CheckpointError(
            f"{path} was refused: not a PyTorch file of tensors alone ({type(e).__name__}); "
            "convert it to model.safetensors where you trust it"
        ) from e
    if not isinstance(values, Mapping) or not all(isinstance(v, Tensor) for v in values.values()):
        raise CheckpointError(f"{path} holds no dictionary of tensors, expected a state dict")
    return dict(values)


def _generation_values(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """`generation_config.json`, or what models older than that file keep in `config.json`."""
    path = folder / "generation_config.json"
    if path.is_file():
        return _read_object(path)
    names = ("suppress_tokens", "begin_suppress_tokens")
    return {name: config[name] for name in names if name in config}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise CheckpointError(f"{path.parent} is no model folder: it has no {path.name}") from e
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} is not readable JSON: {e}") from e
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, expected an object")
    return values


def _write_object(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

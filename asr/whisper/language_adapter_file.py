"""Language adapters as folders: `config.json` and `model.safetensors`; nothing is unpickled."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper import arithmetic
from echoic.asr.whisper.adapter_config import read_object
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.language_adapter import LanguageAdapter, LanguageAdapterConfig, hold
from echoic.asr.whisper.model import WhisperModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MODEL_TYPE = "echoic-language-adapter"


def save_language_adapter(
    folder: str | Path, adapter: LanguageAdapter, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write a folder that `load_language_adapter` reads.

    Args:
        folder: made if it does not exist.
        adapter: what to write.
        dtype: to store in.

    Raises:
        CheckpointError: the weights are not what the config says, or too large for `dtype`.
    """
    folder = Path(folder)
    stored = {n: t.detach().cpu().to(dtype).contiguous() for n, t in adapter.state.items()}
    _check(stored, adapter.config)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS_FILE
    save_file(stored, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes it readable to its owner alone
    values = {"model_type": MODEL_TYPE, **dataclasses.asdict(adapter.config)}
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def load_language_adapter(folder: str | Path) -> LanguageAdapter:
    """Read the folder of a language adapter.

    Raises:
        CheckpointError: not such a folder, or its files contradict each other; one line with the
            folder, what was expected and what to do.
    """
    folder = Path(folder).expanduser()
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{folder} is no language adapter: it has no {CONFIG_FILE}; give a folder that "
            "`echoic export` wrote"
        )
    try:
        config = _config(read_object(folder / CONFIG_FILE))
        try:
            state = load_file(folder / WEIGHTS_FILE)
        except (SafetensorError, OSError) as e:
            raise CheckpointError(f"{WEIGHTS_FILE} is not there or damaged ({e})") from e
        _check(state, config)
    except CheckpointError as e:
        text = " ".join(str(e).split())
        mend = "" if ";" in text else "; fetch or export the adapter again"
        where = "" if str(folder) in text else f"{folder}: "
        raise CheckpointError(f"{where}{text}{mend}") from e
    return LanguageAdapter(config, {n: t.float() for n, t in state.items()}, folder)


def load_whisper(
    name_or_dir: str | Path,
    *,
    device: torch.device,
    dtype: str = "auto",
    language_adapters: Sequence[str | Path] = (),
) -> WhisperModel:
    """Load a Whisper for inference, with the adapters of some languages in it.

    Args:
        name_or_dir: see `WhisperModel.from_pretrained`.
        device: where to compute.
        dtype: see `WhisperModel.from_pretrained`.
        language_adapters: folders.

    Raises:
        CheckpointError: nothing there, not a Whisper model, or adapters of another.
        ValueError: a dtype that this device cannot compute in, or two adapters of one language.
    """
    if not language_adapters:
        return WhisperModel.from_pretrained(name_or_dir, device=device, dtype=dtype)
    if dtype != "auto":
        arithmetic.check(dtype, device)
    adapters = [load_language_adapter(folder) for folder in language_adapters]
    model = hold(WhisperModel.from_checkpoint(load_checkpoint(name_or_dir)), adapters)
    return model.to_inference(device=device, dtype=dtype)


def _config(values: Mapping[str, Any]) -> LanguageAdapterConfig:
    values = dict(values)
    kind = values.pop("model_type", None)
    if kind != MODEL_TYPE:
        raise CheckpointError(f"model_type is {kind!r} in {CONFIG_FILE}, expected {MODEL_TYPE!r}")
    fields = dataclasses.fields(LanguageAdapterConfig)
    unknown = sorted(values.keys() - {f.name for f in fields})
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in values]
    for word, names in (("unknown", unknown), ("missing", missing)):
        if names:
            raise CheckpointError(f"{CONFIG_FILE}: {word} {', '.join(names)}")
    codes = values["languages"]
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise CheckpointError(f"languages are {codes!r}, expected a list of codes")
    return LanguageAdapterConfig(**{**values, "languages": tuple(codes)})


def _check(state: Mapping[str, Tensor], config: LanguageAdapterConfig) -> None:
    shapes = config.shapes
    if state.keys() != shapes.keys():
        name = min(state.keys() ^ shapes.keys())
        raise CheckpointError(f"{name} is {'unexpected' if name in state else 'missing'}")
    for name, shape in shapes.items():
        tensor = state[name]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise CheckpointError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, {CONFIG_FILE} says "
                f"floats of {shape}"
            )
        if not math.isfinite(tensor.sum(dtype=torch.float64)):
            raise CheckpointError(f"{name} holds NaN or infinity in {tensor.dtype}")

"""The codec that a recipe asks for, and the weights that it starts from."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError
from echoic.codecs.registry import codec_class, load_codec
from echoic.codecs.weight_norm import load_plain, plain_state

#: What a checkpoint of `CodecTask` holds beside Lightning's own keys: the recipe's `model`.
SETTINGS_KEY = "codec_settings"
AVERAGE_PREFIX = "average.codec."
CODEC_PREFIX = "codec."


def build_codec(settings: Mapping[str, Any]) -> Codec:
    """Build a codec with random weights.

    Args:
        settings: see `codec_settings`.

    Raises:
        CodecError: an unknown kind or preset.
        ValueError: unknown or unfit settings.
    """
    values = codec_settings(settings)
    return codec_class(values["model"]).from_config(values)


def codec_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a codec, as in its `config.json`.

    Args:
        settings: `kind` as in `echoic.codecs.registry`, optionally `preset`, a named size of the
            kind's config such as "tiny_16k", and fields that differ from it; sections such as
            `quantizer` are changed field by field.

    Raises:
        CodecError: an unknown kind or preset.
        ValueError: a preset that the kind does not have.
    """
    changes = dict(settings)
    kind = changes.pop("kind", None)
    config_class = codec_class(kind).config_class
    preset = changes.pop("preset", None)
    base = config_class() if preset is None else _preset(kind, config_class, str(preset))
    return {"model": kind, **_merged(asdict(base), changes)}


def whole_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of `build_codec` with every field said, for a checkpoint.

    A preset is a name for values that may change; what was trained must not.
    """
    values = codec_settings(settings)
    return {"kind": values.pop("model"), **values}


def _preset(kind: str, config_class: Any, name: str) -> Any:
    """Return a config by name: an argument of `preset`, or a class method of its own."""
    if hasattr(config_class, "preset"):
        return config_class.preset(name)
    makers = sorted(k for k, v in vars(config_class).items() if isinstance(v, classmethod))
    if name not in makers:
        raise CodecError(f"{kind} has no preset {name!r}, expected one of {', '.join(makers)}")
    return getattr(config_class, name)()


def read_run(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of `CodecTask`: tensors and plain values, never code.

    Raises:
        CodecError: not there, or not such a checkpoint.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise CodecError(f"{path} is not there; give a .ckpt file of a run") from e
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as e:
        raise CodecError(
            f"{path} was refused: not a checkpoint of tensors and plain values "
            f"({type(e).__name__}); give one that `echoic train fit` wrote"
        ) from e
    if not isinstance(values, dict) or SETTINGS_KEY not in values:
        raise CodecError(f"{path} holds no codec; give a checkpoint of CodecTask")
    return values


def codec_of_run(path: str | Path, *, averaged: bool = True) -> Codec:
    """Return the codec of a checkpoint, in evaluation mode.

    Args:
        path: see `read_run`.
        averaged: the running mean of the weights; else those of the last step.

    Raises:
        CodecError: see `read_run`.
    """
    values = read_run(path)
    codec = build_codec(values[SETTINGS_KEY])
    prefix = AVERAGE_PREFIX if averaged else CODEC_PREFIX
    codec.load_state_dict(strip(values["state_dict"], prefix))
    return codec.eval()


def load_start(codec: Codec, source: str | Path) -> None:
    """Give a codec the weights of an earlier run (a .ckpt file) or of a codec (a folder or a name).

    Raises:
        CodecError: it is not there, or of other settings.
    """
    start = any_codec(source)
    try:
        load_plain(codec, plain_state(start))
    except ValueError as e:
        raise CodecError(f"{source} does not fit the codec to train: {e}") from e


def any_codec(source: str | Path) -> Codec:
    """Return the codec of a run (a .ckpt file), a folder or a name, in evaluation mode.

    Raises:
        CodecError: it is not there.
    """
    return codec_of_run(source) if str(source).endswith(".ckpt") else load_codec(source)


def strip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the part of a state dict under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        section = isinstance(old, dict) and isinstance(value, Mapping)
        result[name] = _merged(dict(old or {}), value) if section else _typed(value, old)
    return result


def _typed(value: Any, old: Any) -> Any:
    """Return what a text means that stands for a number: a command line has only texts."""
    if not isinstance(value, str) or isinstance(old, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value

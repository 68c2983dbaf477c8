"""What the codecs share whose published form is that of transformers: a folder, read by its facts.

The library itself is not needed: the settings of its `config.json` and the tensors of its
`model.safetensors` go into layers of ours, which compute the same and stream.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from echoic.codecs.codec import Codec, CodecError
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.upstream.checkpoint import check_finite, fold_weight_norm
from echoic.codecs.weights import WEIGHTS, read_tensors

# The library's names of what lies around a signal.
PAD_MODES = {"constant": "zeros", "zero": "zeros", "replicate": "replicate", "reflect": "reflect"}


class TransformersCodec(Codec):
    """Base of `Encodec`, `Dac` and `Mimi`; mono.

    Loads what transformers' `save_pretrained` wrote, and what its own wrote. Codes and waveforms
    are those of the library, with exact lengths. Rows of a batch that have lengths of their own are
    coded one by one: padding at the true end of a recording is part of its last codes.

    Args:
        config: a frozen dataclass with `sample_rate` and `hop_length`.
        encoder: (B, T) -> latents (B, D, F), streaming.
        quantizer: a `Quantizer`, or what has its methods.
        decoder: latents (B, D, F) -> (B, F * hop), streaming.
    """

    batchable: ClassVar[bool] = False

    def __init__(
        self, config: Any, encoder: nn.Module, quantizer: nn.Module, decoder: nn.Module
    ) -> None:
        super().__init__(config, encoder, cast(Quantizer, quantizer), decoder)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @classmethod
    def from_published(cls, values: Mapping[str, Any], state: dict[str, Tensor]) -> Self:
        """Build the codec of the library's settings and tensors.

        Args:
            values: of its `config.json`; what is left out has the library's default.
            state: float32 tensors by their names there, weight norm computed.

        Raises:
            ValueError: a form of the codec that is not supported, or tensors that do not fit.
        """
        raise TypeError(f"{cls.__name__} has no published form; use one of its subclasses")

    @classmethod
    def load_folder(cls, folder: Path, values: dict[str, Any]) -> Self:
        """Build the codec of a folder of ours, or of the library's, and load its weights.

        Raises:
            CodecError: settings or weights that do not fit.
        """
        if "model" in values:
            return super().load_folder(folder, values)
        state = read_tensors(folder)
        try:
            codec = cls.from_published(values, fold_weight_norm(state))
        except ValueError as error:
            raise CodecError(f"{folder / WEIGHTS}: {error}") from error
        return codec.eval()


def setting(values: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a setting of the library's, which must be of the type of its default.

    Args:
        values: of its `config.json`.
        name: of the setting.
        default: of the library, which leaves such values out of its files.

    Raises:
        ValueError: of another type.
    """
    value = values.get(name, default)
    wanted = type(default)
    if wanted is tuple and isinstance(value, list) and all(type(v) is int for v in value):
        return tuple(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ValueError(
            f"{name} is {value!r} in config.json, expected a value such as {default!r}"
        )
    return value


def pad_mode(values: Mapping[str, Any], default: str) -> Any:
    """Return our name of the library's `pad_mode`.

    Raises:
        ValueError: another one.
    """
    name = setting(values, "pad_mode", default)
    if name not in PAD_MODES:
        raise ValueError(f"pad_mode is {name!r}, expected one of {', '.join(PAD_MODES)}")
    return PAD_MODES[name]


def require(values: Mapping[str, Any], wanted: Mapping[str, Any], why: str) -> None:
    """Check that settings, where they are given, have the only values that are supported.

    Raises:
        ValueError: another value.
    """
    for name, only in wanted.items():
        value = values.get(name, only)
        if value != only:
            raise ValueError(f"{name} is {value!r} in config.json, expected {only!r}: {why}")


def take_stack(state: dict[str, Tensor], prefix: str, suffix: str) -> Tensor:
    """Remove the tensors `prefix` + number + `suffix` and return them in order, stacked.

    Raises:
        ValueError: none, a gap, different shapes, or numbers that are not finite.
    """
    pattern = re.compile(re.escape(prefix) + r"(\d+)" + re.escape(suffix))
    found = {int(m[1]): state.pop(m[0]) for m in list(map(pattern.fullmatch, state)) if m}
    shapes = {tuple(tensor.shape) for tensor in found.values()}
    if sorted(found) != list(range(len(found))) or len(shapes) != 1:
        raise ValueError(
            f"{prefix}N{suffix} are there for N of {sorted(found)} with shapes {sorted(shapes)}, "
            "expected tensors from 0 of one shape: the file is not whole"
        )
    stacked = torch.stack([found[place] for place in range(len(found))])
    check_finite(f"{prefix}N{suffix}", stacked)
    return stacked


def drop(state: dict[str, Tensor], *endings: str) -> None:
    """Remove tensors that only training needs."""
    for name in [name for name in state if name.endswith(endings)]:
        del state[name]


def seanet_name(name: str) -> str:
    """Return the library's name of a tensor of a SEANet: "1.block.3.conv.weight" of our names."""
    place, rest = name.split(".", 1)
    if re.search(r"_l\d+$", rest):
        return f"{place}.lstm.{rest}"
    *path, kind = rest.replace("branch.", "block.").split(".")
    return ".".join([place, *path, "conv", kind])

"""Weights in eight bits: one signed byte per weight and one scale per 32 weights of a row.

A file is an ordinary safetensors file. A matrix `name` (or a convolution kernel, its inputs laid
flat) is stored as int8 with `name.scale` in float16: weight ≈ byte * scale. Vectors are float16.
Loading gives back floats. The encoder's sinusoids are recomputed if that gives the same numbers.

A matrix can have one scale a row instead: what multiplies in eight bits (`echoic.asr.arithmetic`)
then has the very weights that are stored.

Why 32: on the test recordings one scale per row moves tiny.en's logits by 0.22 (root mean square;
their spread is 7.2), scales per row and column by 0.24, scales per 32 weights by 0.10, for 6 % more
bytes.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.layout import ENCODER_POSITIONS, sinusoids

FORMAT = "echoic-int8"
VERSION = 1
GROUP = 32

_SCALE = ".scale"
_LEVELS = 127


def quantize(weight: Tensor, group: int = GROUP) -> tuple[Tensor, Tensor]:
    """Round a weight to int8, symmetrically, with one scale per group of inputs of a row.

    Args:
        weight: (rows, ...) of floats; the inputs of a row are taken in their order in memory.
        group: inputs that share a scale; the last group of a row may be shorter.

    Returns:
        Bytes of the weight's shape, and float16 scales (rows, groups).

    Raises:
        ValueError: the weight holds NaN or infinity.
    """
    grouped = _grouped(weight.detach().float(), group)
    if not grouped.isfinite().all():
        raise ValueError("the weight holds NaN or infinity and cannot be quantised")
    # The scale as float16 will keep it, and never zero: a group of zeros needs some scale.
    limits = torch.finfo(torch.float16)
    scale = (grouped.abs().amax(dim=2) / _LEVELS).clamp(limits.smallest_normal, limits.max).half()
    values = (grouped / scale.float()[:, :, None]).round_().clamp_(-_LEVELS, _LEVELS)
    return _ungrouped(values.to(torch.int8), weight.shape), scale


def dequantize(
    values: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32, group: int = GROUP
) -> Tensor:
    """Return the floats that bytes (rows, ...) with scales (rows, groups) stand for."""
    grouped = _grouped(values.float(), group).mul_(scale.float()[:, :, None])
    return _ungrouped(grouped, values.shape).to(dtype)


def save_quantized(
    state: Mapping[str, Tensor], path: str | Path, whole_rows: Collection[str] = ()
) -> None:
    """Write a model's tensors with all matrices in eight bits.

    Args:
        state: name to tensor, floats.
        path: the safetensors file to write.
        whole_rows: names of matrices with one scale a row.

    Raises:
        ValueError: a tensor holds NaN or infinity.
    """
    tensors: dict[str, Tensor] = {}
    recomputed = _as_sinusoids(state.get(ENCODER_POSITIONS))
    for name, tensor in state.items():
        if name == ENCODER_POSITIONS and recomputed is not None:
            continue
        if tensor.dim() < 2:
            tensors[name] = tensor.detach().half().contiguous()
        else:
            group = tensor[0].numel() if name in whole_rows else GROUP
            tensors[name], tensors[name + _SCALE] = quantize(tensor, group)
    header = {"format": FORMAT, "version": VERSION, "group": GROUP, "sinusoids": recomputed}
    save_file(tensors, path, metadata={FORMAT: json.dumps(header)})


def is_quantized(path: str | Path) -> bool:
    """Whether a safetensors file was written by `save_quantized`.

    Raises:
        CheckpointError: not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return FORMAT in (file.metadata() or {})
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {e}") from e


def load_quantized(path: str | Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Read a file of `save_quantized` back as floats.

    Raises:
        CheckpointError: damaged, of another version, or bytes without their scales.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = _Header.parse((file.metadata() or {}).get(FORMAT, "{}"), path)
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} is damaged: {e}") from e
    state = {
        name: _restore(name, stored, path, dtype, header.group)
        for name in stored
        if name.removesuffix(_SCALE) == name or name.removesuffix(_SCALE) not in stored
    }
    if header.sinusoids is not None:
        state[ENCODER_POSITIONS] = header.sinusoids.make().to(dtype)
    return state


@dataclass(frozen=True, slots=True)
class _Sinusoids:
    """How the encoder's positions were made."""

    length: int
    channels: int
    rounded_to: str

    def __post_init__(self) -> None:
        for size in (self.length, self.channels):
            if not isinstance(size, int) or not 2 <= size <= 2**16:
                raise ValueError(f"sinusoids of size {size!r}, expected 2 to 65536")
        if self.rounded_to not in ("float32", "float16"):
            raise ValueError(f"sinusoids rounded to {self.rounded_to!r}")

    def make(self) -> Tensor:
        return _rounded_sinusoids(self.length, self.channels, self.rounded_to)


class _Header(NamedTuple):
    group: int
    sinusoids: _Sinusoids | None

    @classmethod
    def parse(cls, text: str, path: str | Path) -> Self:
        """Read what `save_quantized` left in the metadata, and believe nothing of it unchecked."""
        try:
            values = json.loads(text)
            version, group, recipe = (values.get(k) for k in ("version", "group", "sinusoids"))
            if version == VERSION and not (isinstance(group, int) and group > 0):
                raise ValueError(f"groups of {group!r} weights")
            sinusoids = None if recipe is None else _Sinusoids(**recipe)
        except (ValueError, TypeError, AttributeError) as e:
            raise CheckpointError(f"{path} is damaged: its header is wrong: {e}") from e
        if version != VERSION:
            raise CheckpointError(f"{path} has version {version!r} of {FORMAT}, expected {VERSION}")
        return cls(group, sinusoids)


def _restore(
    name: str, stored: Mapping[str, Tensor], path: str | Path, dtype: torch.dtype, group: int
) -> Tensor:
    values, scale = stored[name], stored.get(name + _SCALE)
    if values.dtype != torch.int8:
        return values.to(dtype)
    inputs = values[0].numel()
    if scale is not None and scale.shape == (len(values), 1):
        group = inputs
    if scale is None or scale.shape != (len(values), -(-inputs // group)):
        raise CheckpointError(
            f"{path}: {name} has no scale for every {group} weights of a row, nor for every row"
        )
    return dequantize(values, scale, dtype, group)


def _grouped(weight: Tensor, group: int) -> Tensor:
    flat = weight.flatten(1)
    short = -flat.shape[1] % group
    if short:
        flat = torch.nn.functional.pad(flat, (0, short))
    return flat.view(flat.shape[0], -1, group)


def _ungrouped(grouped: Tensor, shape: torch.Size) -> Tensor:
    flat = grouped.flatten(1)[:, : shape[1:].numel()]
    return flat.reshape(shape).contiguous()


def _as_sinusoids(positions: Tensor | None) -> dict[str, int | str] | None:
    """How to recompute the positions to within 1e-6, or None if they were learned."""
    if positions is None:
        return None
    length, channels = positions.shape
    for dtype in ("float32", "float16"):  # half-precision sources hold rounded sinusoids
        recipe = {"length": length, "channels": channels, "rounded_to": dtype}
        if (_rounded_sinusoids(length, channels, dtype) - positions.float()).abs().max() < 1e-6:
            return recipe
    return None


def _rounded_sinusoids(length: int, channels: int, rounded_to: str) -> Tensor:
    return sinusoids(length, channels).to(getattr(torch, rounded_to)).float()

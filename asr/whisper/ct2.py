"""Whisper models in CTranslate2's format, as faster-whisper keeps them: read, never executed.

`model.bin` is a flat list of named arrays, little endian and without padding::

    u32 version, string spec, u32 revision,
    u32 n, n × (string name, u8 rank, u32 × rank dims, u8 dtype, u32 n_bytes, bytes),
    u32 m, m × (string alias, string name)

with strings as u16 length and NUL-ended text. Linear weights are (out, in) as in torch; query, key
and value of one attention are stacked. Eight-bit weights are `bytes / scale`, one scale per row.
"""

import json
import mmap
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.layout import ENCODER_POSITIONS, TOKEN_EMBEDDING

BINARY_VERSION = 6
SPEC = "WhisperSpec"

_DTYPES = (
    torch.float32,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.float16,
    torch.bfloat16,
)


def is_ct2_folder(folder: Path) -> bool:
    """Whether the folder holds `model.bin`, the one file every CTranslate2 model has."""
    return (folder / "model.bin").is_file()


def load_ct2(
    folder: Path, dtype: torch.dtype | None = torch.float32
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Read a faster-whisper folder.

    Args:
        folder: holds `model.bin` and, with the ids that steer decoding, `config.json`.
        dtype: of the returned tensors; None keeps what is stored (int8 becomes float32).

    Returns:
        The objects of a Hugging Face `config.json` and `generation_config.json`, and the tensors
        under Hugging Face's names.

    Raises:
        CheckpointError: damaged, of an unknown version, or not a Whisper model.
    """
    path = folder / "model.bin"
    variables = read_variables(path)
    try:
        state = _Renamer(variables, dtype).state()
        config = _config(state, variables)
        generation = _generation(folder / "config.json")
    except (KeyError, IndexError, ValueError, RuntimeError) as e:
        if isinstance(e, CheckpointError):
            raise
        raise CheckpointError(f"{path} is no complete Whisper model: {e}") from e
    return config, generation, state


def read_variables(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a `model.bin` as views of the memory-mapped file.

    Raises:
        CheckpointError: truncated, of an unknown version, or of another kind of model.
    """
    reader = _Reader(path)
    version = reader.number("I")
    if version != BINARY_VERSION:
        raise CheckpointError(
            f"{path} has CTranslate2 binary version {version}, only {BINARY_VERSION} is known; "
            "convert the original model again with a current ct2-transformers-converter"
        )
    spec = reader.string()
    if spec != SPEC:
        raise CheckpointError(f"{path} holds a {spec!r}, expected {SPEC!r}")
    reader.number("I")  # the revision changes what the runtime may do, not the arrays
    variables = dict(reader.variable() for _ in range(reader.number("I")))
    for _ in range(reader.number("I")):
        alias, name = reader.string(), reader.string()
        if alias == "decoder/projection/weight" and name != "decoder/embeddings/weight":
            raise CheckpointError(f"{path}: {alias} is {name}, expected the token embedding")
    reader.expect_end()
    return variables


class _Reader:
    """A cursor over the mapped file that never reads beyond its end."""

    def __init__(self, path: Path):
        self._path = path
        try:
            # Copy-on-write, because torch.frombuffer wants a buffer that it may write to.
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as e:
            raise CheckpointError(f"{path} cannot be mapped: {e}") from e
        self._at = 0

    def _take(self, size: int) -> int:
        start = self._at
        if start + size > len(self._data):
            raise CheckpointError(
                f"{self._path} is truncated or damaged: {size} bytes wanted at byte {start} "
                f"of {len(self._data)}"
            )
        self._at += size
        return start

    def number(self, code: str) -> int:
        start = self._take(struct.calcsize("<" + code))
        return struct.unpack_from("<" + code, self._data, start)[0]

    def string(self) -> str:
        size = self.number("H")
        start = self._take(size)
        try:
            return self._data[start : start + size].rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError as e:
            raise CheckpointError(f"{self._path} is damaged: a name is not text") from e

    def variable(self) -> tuple[str, Tensor]:
        name = self.string()
        shape = [self.number("I") for _ in range(self.number("B"))]
        code, size = self.number("B"), self.number("I")
        start = self._take(size)
        count = 1
        for n in shape:
            count *= n
        if code >= len(_DTYPES) or count * _DTYPES[code].itemsize != size:
            raise CheckpointError(
                f"{self._path} is damaged: {name} has dtype {code}, shape {shape}, {size} bytes"
            )
        if count == 0:
            return name, torch.empty(shape, dtype=_DTYPES[code])
        # Names of any length come before, so floats may lie off their alignment: copy those.
        dtype = _DTYPES[code]
        if start % dtype.itemsize:
            raw = bytearray(self._data[start : start + size])
            return name, torch.frombuffer(raw, dtype=dtype).view(shape)
        flat = torch.frombuffer(self._data, dtype=dtype, count=count, offset=start)
        return name, flat.view(shape)

    def expect_end(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise CheckpointError(f"{self._path} is damaged: {left} bytes after its end")


class _Renamer:
    """CTranslate2's variables under Hugging Face's names, floats again."""

    def __init__(self, variables: Mapping[str, Tensor], dtype: torch.dtype | None):
        self._variables = variables
        self._dtype = dtype
        self._used: set[str] = set()
        self._state: dict[str, Tensor] = {}

    def state(self) -> dict[str, Tensor]:
        self._state[ENCODER_POSITIONS] = self._get("encoder/position_encodings/encodings")
        self._state["model.decoder.embed_positions.weight"] = self._get(
            "decoder/position_encodings/encodings"
        )
        self._state[TOKEN_EMBEDDING] = self._get("decoder/embeddings/weight")
        for conv in ("conv1", "conv2"):
            self._linear(f"encoder/{conv}", f"model.encoder.{conv}")
        for side in ("encoder", "decoder"):
            self._norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
            for i in range(_count_layers(self._variables, side)):
                self._layer(f"{side}/layer_{i}", f"model.{side}.layers.{i}", side == "decoder")
        settings = {name for name, value in self._variables.items() if value.dim() == 0}
        left = self._variables.keys() - self._used - settings
        if left:
            raise CheckpointError(f"the CTranslate2 model has an unknown variable {min(left)}")
        return self._state

    def _get(self, name: str) -> Tensor:
        if name not in self._variables:
            raise CheckpointError(f"the CTranslate2 model has no variable {name}")
        self._used.add(name)
        value, scale = self._variables[name], self._variables.get(name + "_scale")
        if scale is not None:
            self._used.add(name + "_scale")
            shape = (-1, *[1] * (value.dim() - 1)) if scale.dim() else ()
            value = value.float() / scale.float().view(shape)
        elif not value.is_floating_point():
            raise CheckpointError(f"the CTranslate2 model has no variable {name}_scale")
        return value if self._dtype is None else value.to(self._dtype)

    def _norm(self, source: str, target: str) -> None:
        self._state[f"{target}.weight"] = self._get(f"{source}/gamma")
        self._state[f"{target}.bias"] = self._get(f"{source}/beta")

    def _linear(self, source: str, *targets: str) -> None:
        """One linear layer that may be several of Hugging Face's, stacked by rows."""
        weights = self._get(f"{source}/weight").chunk(len(targets))
        biases = self._get(f"{source}/bias").chunk(len(targets))
        for target, weight, bias in zip(targets, weights, biases, strict=True):
            self._state[f"{target}.weight"] = weight
            if not target.endswith("k_proj"):
                self._state[f"{target}.bias"] = bias
            elif bias.any():
                raise CheckpointError(f"{source}/bias is not zero for the keys, as Whisper's are")

    def _layer(self, source: str, target: str, crossed: bool) -> None:
        parts = [f"{target}.self_attn.{p}_proj" for p in "qkv"]
        self._norm(f"{source}/self_attention/layer_norm", f"{target}.self_attn_layer_norm")
        self._linear(f"{source}/self_attention/linear_0", *parts)
        self._linear(f"{source}/self_attention/linear_1", f"{target}.self_attn.out_proj")
        if crossed:
            inner = f"{target}.encoder_attn"
            self._norm(f"{source}/attention/layer_norm", f"{inner}_layer_norm")
            self._linear(f"{source}/attention/linear_0", f"{inner}.q_proj")
            self._linear(f"{source}/attention/linear_1", f"{inner}.k_proj", f"{inner}.v_proj")
            self._linear(f"{source}/attention/linear_2", f"{inner}.out_proj")
        self._norm(f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
        self._linear(f"{source}/ffn/linear_0", f"{target}.fc1")
        self._linear(f"{source}/ffn/linear_1", f"{target}.fc2")


def _count_layers(variables: Mapping[str, Tensor], side: str) -> int:
    found = (re.match(rf"{side}/layer_(\d+)/", name) for name in variables)
    return len({match.group(1) for match in found if match})


def _config(state: Mapping[str, Tensor], variables: Mapping[str, Tensor]) -> dict[str, Any]:
    """The sizes, which CTranslate2 keeps in the shapes alone."""
    vocab_size, d_model = state[TOKEN_EMBEDDING].shape
    config: dict[str, Any] = {
        "model_type": "whisper",
        "vocab_size": vocab_size,
        "d_model": d_model,
        "num_mel_bins": state["model.encoder.conv1.weight"].shape[1],
        "max_source_positions": state[ENCODER_POSITIONS].shape[0],
        "max_target_positions": state["model.decoder.embed_positions.weight"].shape[0],
    }
    for side in ("encoder", "decoder"):
        config[f"{side}_layers"] = _count_layers(variables, side)
        config[f"{side}_attention_heads"] = int(variables[f"{side}/num_heads"])
        config[f"{side}_ffn_dim"] = state[f"model.{side}.layers.0.fc1.weight"].shape[0]
    return config


def _generation(path: Path) -> dict[str, Any]:
    """What faster-whisper's `config.json` says about decoding; the ids follow the tokenizer."""
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as e:
        raise CheckpointError(f"{path} is not readable JSON: {e}") from e
    names = {
        "suppress_ids": "suppress_tokens",
        "suppress_ids_begin": "begin_suppress_tokens",
        "alignment_heads": "alignment_heads",
    }
    return {new: values[old] for old, new in names.items() if old in values}

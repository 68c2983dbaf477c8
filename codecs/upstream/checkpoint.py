"""PyTorch checkpoints of other toolkits, read without running their code, and put in our places."""

import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError

# The first bytes of what torch.save wrote before it wrote zip archives: a pickle's protocol mark.
_PICKLE = b"\x80"
_PICKLE_BYTES = 1 << 22
# Weight norm under its old and its new names: (length, direction).
_NORMED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def read_checkpoint(path: Path) -> Any:
    """Return what `torch.save` wrote: tensors in plain containers, nothing else.

    Raises:
        CodecError: damaged, no PyTorch file, or one that holds other objects.
    """
    archive = zipfile.is_zipfile(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except FileNotFoundError as error:
        raise CodecError(f"{path}: no such file") from error
    except Exception as error:  # pickle, zip, OS, runtime and type errors alike
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CodecError(
            f"{path}: damaged, or no plain PyTorch checkpoint ({reason[0][:120]}); fetch it again"
        ) from error


def looks_like_checkpoint(path: Path) -> bool:
    """Return whether a file may be what `torch.save` wrote, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or start[:1] == _PICKLE


def holds_names(path: Path, names: Iterable[str]) -> bool:
    """Return whether a checkpoint has tensors whose names hold these parts, without loading it."""
    if not looks_like_checkpoint(path):
        return False
    try:
        pickled = _pickled(path)
    except (OSError, zipfile.BadZipFile):
        return False
    return all(name.encode() in pickled for name in names)


def checkpoints(src: Path, names: Iterable[str]) -> list[Path]:
    """Return the checkpoints at `src`, a file or folder, that have names of all these parts."""
    marks = tuple(names)
    paths = sorted(src.iterdir()) if src.is_dir() else [src]
    return [path for path in paths if holds_names(path, marks)]


def newest(src: Path, found: Sequence[Path], kind: str) -> Path:
    """Return the only checkpoint of those found, or the last by step (`g_00005000`).

    Raises:
        CodecError: none, or several that have no order.
    """
    steps = {path: int(path.name[2:]) for path in found if re.fullmatch(r"g_\d+", path.name)}
    if not found:
        what = "" if src.exists() else " (nothing is there)"
        raise CodecError(f"{src}: no checkpoint of {kind}{what}; expected its file or folder")
    if len(found) > 1 and len(steps) != len(found):
        listed = ", ".join(path.name for path in found)
        raise CodecError(f"{src}: several checkpoints ({listed}); name the one to import")
    return max(found, key=lambda path: steps.get(path, 0))


def read_parts(path: Path, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts of these names of a checkpoint.

    Raises:
        CodecError: damaged, or without one of them.
    """
    found, parts = read_checkpoint(path), {}
    for name in names:
        part = found.get(name) if isinstance(found, Mapping) else None
        if not isinstance(part, Mapping) or not all(isinstance(t, Tensor) for t in part.values()):
            raise CodecError(f"{path}: no state dict {name!r}; expected {', '.join(names)}")
        parts[name] = dict(part)
    return parts


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with normalised weights computed, in float32, under their plain names.

    The norm is over all dimensions but the first, as PyTorch's default has it.
    """
    plain = {name: tensor.float() for name, tensor in state.items()}
    for length, direction in _NORMED:
        for name in [name for name in plain if name.endswith(f".{length}")]:
            stem = name.removesuffix(length)
            v, g = plain.pop(stem + direction, None), plain.pop(name)
            if v is None:
                raise CodecError(f"{name} stands without {stem}{direction}; fetch the file again")
            dims = tuple(range(1, v.dim()))
            plain[f"{stem}weight"] = v * (g / torch.linalg.vector_norm(v, dim=dims, keepdim=True))
    return plain


@torch.no_grad()
def transfer(codec: Codec, state: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Put all of a foreign state dict, but for the books, in its places.

    Args:
        codec: with plain weights.
        state: tensors by their foreign names.
        names: where each belongs, "encoder.conv_pre.weight".

    Raises:
        CodecError: a tensor is missing, unknown, of another shape, or not finite.
    """
    missing = sorted(set(names) - set(state))
    unknown = sorted(set(state) - set(names))
    if missing or unknown:
        parts = [f"has no {_listed(missing)}"] * bool(missing)
        parts += [f"has {_listed(unknown)}, which this codec does not"] * bool(unknown)
        raise CodecError(f"the checkpoint {' and '.join(parts)}: it is of another configuration")
    places = codec.state_dict()
    for name, ours in names.items():
        tensor, place = state[name], places[ours]
        if tensor.shape != place.shape:
            raise CodecError(
                f"{name} has shape {tuple(tensor.shape)}, expected {tuple(place.shape)}: the "
                "checkpoint is of another configuration"
            )
        check_finite(name, tensor)
        place.copy_(tensor)
    left = [n for n in places if "codebooks." not in n]
    assert set(left) <= set(names.values()), "the name table leaves tensors of ours unset"


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse weights that are no numbers.

    Raises:
        CodecError: NaN or infinity.
    """
    if not bool(torch.isfinite(tensor).all()):
        raise CodecError(f"{name} has NaN or infinite weights: fetch the checkpoint again")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, None for a file that holds no such thing."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _pickled(path: Path) -> bytes:
    """Return the part of a checkpoint that holds names; numbers lie elsewhere."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            return archive.read(inside[0]) if inside else b""
    with path.open("rb") as file:  # a bare pickle, or an archive that is cut off
        return file.read(_PICKLE_BYTES)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more

"""PyTorch files that hold objects of foreign classes, read without running foreign code.

`torch.save` pickles whatever it is given, and `torch.load` either imports the classes by name or
refuses the whole file. Here tensors and plain containers are built, and every other name in the
pickle, whatever it means, becomes an inert class that only remembers what it was given: nothing is
imported, and nothing of the file's choice is called.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import torch
from torch import Tensor
from torch.storage import TypedStorage

from echoic.asr.whisper.errors import CheckpointError


class Inert:
    """Stands for an object of a class that is not imported; each class gets a subclass of its own.

    Attributes:
        path: where the class would have come from, "package.module.Name".
        args: what it was made with.
        values: its attributes, by name, and its items, if it was a mapping.
        items: its items, if it was a sequence.
    """

    path: str = ""
    args: tuple[Any, ...]
    values: dict[Any, Any]
    items: list[Any]

    # Not in __init__: a pickle may make an object without calling that.
    def __new__(cls, *args: Any, **named: Any) -> Self:
        """Keep the arguments and do nothing."""
        self = super().__new__(cls)
        self.args = args
        self.values = dict(named)
        self.items = []
        return self

    def __init__(self, *args: Any, **named: Any) -> None:
        pass

    # Methods and partial functions are pickled as calls of what an earlier call returned.
    def __call__(self, *args: Any) -> "Inert":
        """Return another inert object."""
        return Inert(*args)

    def __setstate__(self, state: Any) -> None:
        # An object with slots has a pair: its dictionary, or None, and its slots.
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, Mapping):
                self.values.update(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value

    def append(self, item: Any) -> None:
        """Keep an item."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """Keep items."""
        self.items.extend(items)


def attributes(value: Any) -> dict[str, Any] | None:
    """Return the attributes of an inert object or the items of a mapping; None of anything else."""
    found = value.values if isinstance(value, Inert) else value
    if not isinstance(found, Mapping):
        return None
    return {name: item for name, item in found.items() if isinstance(name, str)}


def read_torch_file(path: str | Path) -> Any:
    """Read what `torch.save` wrote; no code from the file is ever run.

    Tensors lie on the CPU, mapped into memory, not copied.

    Raises:
        CheckpointError: damaged, truncated, or not a plain PyTorch file, in one line.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    _check_archive(path)
    reader = SimpleNamespace(__name__=__name__, Unpickler=_Unpickler, load=_refuse_bare_pickle)
    try:
        return torch.load(
            path, map_location="cpu", weights_only=False, pickle_module=reader, mmap=True
        )
    except Exception as e:  # the reader raises pickle, zip, OS, type and runtime errors alike
        reason = " ".join(str(e).split())[:200]
        raise CheckpointError(
            f"{path} is damaged or no plain PyTorch file ({type(e).__name__}: {reason}); "
            "fetch it again"
        ) from e


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except FileNotFoundError:
        raise
    except (OSError, zipfile.BadZipFile, NotImplementedError) as e:
        raise CheckpointError(
            f"{path} is truncated or no PyTorch file ({e}); expected what torch.save writes, "
            "fetch it again"
        ) from e
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names or "data.pkl" not in names:
        raise CheckpointError(
            f"{path} is a zip archive but no PyTorch checkpoint; expected one with data.pkl and "
            "without TorchScript"
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(  # torch.save never compresses; a bomb does
            f"{path} has compressed entries, which torch.save never writes; fetch it again"
        )


def _refuse_bare_pickle(*_args: Any, **_named: Any) -> Any:
    raise pickle.UnpicklingError("a pickle outside of an archive")


class _Unpickler(pickle.Unpickler):
    """Builds tensors and ordered dictionaries; all other names are inert."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name of the file's; nothing is looked up anywhere."""
        known = _KNOWN.get((module, name))
        return _inert(f"{module}.{name}") if known is None else known


@cache
def _inert(path: str) -> type[Inert]:
    return type("Inert", (Inert,), {"path": path})


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> Tensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, TypedStorage) or not all(type(n) is int for n in numbers):
        raise pickle.UnpicklingError("a tensor is made of something else than a storage")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # Also by number: an expanded scalar would fill the memory as soon as it is copied.
    data = storage._untyped_storage  # the public ways to it warn
    room = data.nbytes() // storage.dtype.itemsize
    if min(numbers) < 0 or (math.prod(size) and max(last + 1, math.prod(size)) > room):
        raise pickle.UnpicklingError(f"a tensor of {tuple(size)} is larger than its storage")
    tensor = torch.empty(0, dtype=storage.dtype)
    return tensor.set_(data, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *_rest: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise pickle.UnpicklingError("a parameter is made of something else than a tensor")
    return data


def _size(numbers: Any) -> tuple[Any, ...]:
    return tuple(numbers)


def _set(items: Any = ()) -> set[Any]:
    return set(items)


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _size,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
}

"""PyTorch files that hold objects of foreign classes, read without running foreign code.

`torch.save` pickles whatever it is given, and `torch.load` with `weights_only` refuses a whole file
for one class that it does not know. Here it is told of a stand-in for every such name, an inert
class that only remembers what it was given: nothing is imported, nothing of the file's choice runs.
"""

import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError


class Inert:
    """Stands for an object of a class that is not imported; each class gets a subclass of its own.

    Attributes:
        path: where the class would have come from, "package.module.Name".
        args: what it was made with.
        values: its attributes, by name.
    """

    path: str = ""
    args: tuple[Any, ...]
    values: dict[Any, Any]

    # Not in __init__: a pickle may make an object without calling that.
    def __new__(cls, *args: Any, **named: Any) -> Self:
        """Keep the arguments and do nothing."""
        self = super().__new__(cls)
        self.args = args
        self.values = dict(named)
        return self

    def __init__(self, *args: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        # An object with slots has a pair: its dictionary, or None, and its slots.
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, Mapping):
                self.values.update(part)


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
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins: list[Any] = [(_inert(name), name) for name in names]
        with torch.serialization.safe_globals(stand_ins):
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        _check_tensors(found)
    except Exception as e:  # the reader raises pickle, zip, OS, type and runtime errors alike
        raise CheckpointError(
            f"{path} is damaged or no plain PyTorch file ({type(e).__name__}: {_reason(e)}); "
            "fetch it again"
        ) from e
    return found


def _reason(error: Exception) -> str:
    """Return what torch says is wrong, without its advice to run what is in the file."""
    text = str(error)
    said = text.partition("WeightsUnpickler error:")[2] or text
    return " ".join(said.partition("Check the documentation")[0].split())[:200]


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


@cache
def _inert(path: str) -> Any:
    if path == "collections.defaultdict":  # items are only put into dictionaries proper
        return _dictionary
    return type("Inert", (Inert,), {"path": path})


def _dictionary(*_: Any) -> dict[Any, Any]:
    return {}


def _check_tensors(value: Any) -> None:
    """Refuse tensors larger than their storage: a scalar expanded fills the memory when copied."""
    if isinstance(value, Tensor):
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"a tensor of {tuple(value.shape)} is larger than its storage")
    elif isinstance(value, Inert):
        _check_tensors([value.args, value.values])
    elif isinstance(value, Mapping):
        _check_tensors(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for item in value:
            _check_tensors(item)

"""The compiled kernels: built and loaded when an op first runs, and left out where that fails."""

import ctypes
import logging
import os
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.cuda_ext.build import (
    Device,
    ExtensionUnavailable,
    build,
    last_failure,
    library_path,
    plan_for,
)
from echoic.cuda_ext.toolchain import extension_mode

logger = logging.getLogger(__name__)

SCREENING = "avx512_bf16"
# What came of each device's library: its path, or why there is none. Absent: not tried yet.
_outcomes: dict[Device, Path | ExtensionUnavailable] = {}
# Whether a library lay in the cache when somebody asked who did not want to wait for it.
_found: dict[Device, bool] = {}
_lock = threading.Lock()


def ready(op: str, device: str, *, build: bool = True) -> bool:
    """Return whether a compiled kernel of an op stands for a device; the first call builds it.

    Args:
        op: name without namespace, as "lookup_sum".
        device: type of torch device; others than "cpu" and "cuda" have no kernels.
        build: if need be; else what was built before is taken, or nothing: for ops that gain less
            than a program's first run would lose by a build.

    Raises:
        ExtensionUnavailable: `ECHOIC_EXT` is "require", and there is no kernel.
        ValueError: `ECHOIC_EXT` is not a mode.
    """
    known = _device(device)
    if known is None or not (build or _is_there(known)):
        return False
    outcome = _outcome(known)
    if isinstance(outcome, ExtensionUnavailable):
        if extension_mode() == "require":
            raise outcome
        return False
    key = device.upper()
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"echoic::{op}", key)


def load(tensor: Tensor) -> None:
    """Load the kernels for a tensor's device before an op's first use, where there are any.

    An op whose Python body is called first imports torch's compiler, a second or two of a program's
    start, though the body does no more than to load them.
    """
    device = None if torch.compiler.is_compiling() else _device(tensor.device.type)
    if device is not None and device not in _outcomes:
        _outcome(device)


def _device(name: str) -> Device | None:
    return "cpu" if name == "cpu" else "cuda" if name == "cuda" else None


def _is_there(device: Device) -> bool:
    """Return whether a library was tried before, or lies in the cache."""
    if device in _outcomes or extension_mode() == "require":
        return True
    if device not in _found:  # looking means to ask compilers for their versions: once is enough
        try:
            _found[device] = library_path(plan_for(device)).is_file()
        except ExtensionUnavailable:
            _found[device] = False
    return _found[device]


def _outcome(device: Device) -> Path | ExtensionUnavailable:
    known = _outcomes.get(device)
    if known is not None:
        return known
    mode = extension_mode()
    if mode == "off":
        return ExtensionUnavailable("ECHOIC_EXT is off")
    with _lock:
        if device not in _outcomes:
            _outcomes[device] = _try(device)
            failed = _outcomes[device]
            if mode == "auto" and isinstance(failed, ExtensionUnavailable):
                warnings.warn(
                    f"echoic's {device} kernels are not used, torch's are: {failed}; see "
                    "`echoic env`, or set ECHOIC_EXT=off",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return _outcomes[device]


def _try(device: Device) -> Path | ExtensionUnavailable:
    try:
        plan = plan_for(device)
        start, path = time.perf_counter(), library_path(plan)
        if not path.is_file():
            logger.info("building the %s kernels into %s", device, path.parent)
            build(plan)
            logger.info("built in %.1f s", time.perf_counter() - start)
        _load(path)
    except ExtensionUnavailable as error:
        return error
    if device == "cpu":
        _choose_instructions(path)
    return path


def _load(path: Path) -> None:
    try:
        torch.ops.load_library(path)
    except OSError as error:
        why = " ".join(str(error).split())
        raise ExtensionUnavailable(f"{why}: run `echoic ext build --force`") from error


def _choose_instructions(path: Path) -> None:
    wanted = os.environ.get("ECHOIC_EXT_ISA")
    if wanted:
        use_instructions(wanted, path)


class Found(NamedTuple):
    """A library, or why there is none and what mends it; and its sets of instructions."""

    path: Path | None
    why: str | None = None
    mend: str = ""
    instructions: tuple[str, ...] = ()


def look(device: Device) -> Found:
    """Say what kernels a device would have, without building any.

    Why the last build failed was written down beside where it would be.
    """
    mode = extension_mode()
    if mode == "off":
        return Found(None, "ECHOIC_EXT is off", "unset ECHOIC_EXT")
    try:
        plan = plan_for(device)
    except ExtensionUnavailable as error:
        return Found(None, str(error))
    path = library_path(plan)
    if not path.is_file():
        reason = last_failure(plan)
        mend = "built on first use, or by `echoic ext build`"
        return Found(None, reason or "not built yet", "" if reason else mend)
    try:
        _load(path)
    except ExtensionUnavailable as error:
        return Found(None, str(error))
    return Found(path, instructions=tuple(instruction_sets(path)) if device == "cpu" else ())


def instruction_sets(path: Path | None = None) -> list[str]:
    """Return the sets that this processor has, the best one first; empty without the library."""
    path = path or _loaded_cpu()
    if path is None:
        return []
    name_of = ctypes.CDLL(str(path)).echoic_isa_name
    name_of.restype = ctypes.c_char_p
    names: list[str] = []
    while (name := name_of(len(names))) is not None:
        names.append(name.decode())
    return names


def use_instructions(name: str | None, path: Path | None = None) -> None:
    """Have all later calls use one set of instructions, or the best one for None.

    Codes and vectors do not depend on it; for tests and for comparisons. `ECHOIC_EXT_ISA` does it
    from outside.

    Raises:
        ValueError: this processor lacks it, or the library is not loaded.
    """
    path = path or _loaded_cpu()
    use = None if path is None else ctypes.CDLL(str(path)).echoic_use_isa
    if use is None or not use(None if name is None else name.encode()):
        known = ", ".join(instruction_sets(path)) or "none: the kernels are not loaded"
        raise ValueError(f"instructions {name!r} are not among {known}")


def screens() -> bool:
    """Return whether searches can be screened in bfloat16 on this processor."""
    return SCREENING in instruction_sets()


def _loaded_cpu() -> Path | None:
    outcome = _outcomes.get("cpu")
    return outcome if isinstance(outcome, Path) else None

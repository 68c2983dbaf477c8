"""What could build the extension on this machine: compilers, nvcc, and the user's choice."""

import os
import shutil
import subprocess
from typing import Literal, NamedTuple, get_args

Mode = Literal["auto", "off", "require"]


class Toolchain(NamedTuple):
    """Paths of the compilers found, their first line of `--version`, and `ECHOIC_EXT`."""

    cxx: str | None
    cxx_version: str
    nvcc: str | None
    nvcc_version: str
    mode: Mode


def probe() -> Toolchain:
    """Look for a C++ compiler and nvcc.

    Raises:
        ValueError: when the environment variable `ECHOIC_EXT` holds no known mode.
    """
    cxx = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    nvcc = shutil.which("nvcc")
    return Toolchain(
        cxx=cxx,
        cxx_version=_version_line(cxx, first=True),
        nvcc=nvcc,
        nvcc_version=_version_line(nvcc, first=False),
        mode=extension_mode(),
    )


def extension_mode() -> Mode:
    """Return `ECHOIC_EXT`: `auto` (the default), `off` or `require`."""
    value = os.environ.get("ECHOIC_EXT", "auto")
    for mode in get_args(Mode):
        if value == mode:
            return mode
    raise ValueError(f"ECHOIC_EXT must be auto, off or require: got {value!r}")


def _version_line(compiler: str | None, *, first: bool) -> str:
    if compiler is None:
        return ""
    try:
        done = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run: {error}"
    lines = done.stdout.strip().splitlines() or [""]
    return lines[0] if first else lines[-1]

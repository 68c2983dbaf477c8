"""What could build the extension on this machine: compilers, nvcc, and the user's choice."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple, get_args

Mode = Literal["auto", "off", "require"]

# Where CUDA's own installers put it without touching PATH.
CUDA_FOLDERS = ("/usr/local/cuda",)


class Toolchain(NamedTuple):
    """Paths of the compilers found, and the telling line of their `--version`."""

    cxx: str | None
    cxx_version: str
    nvcc: str | None
    nvcc_version: str


def probe() -> Toolchain:
    """Look for a C++ compiler and nvcc; one that does not run says so as its version."""
    cxx, nvcc = find_cxx(), find_nvcc()
    return Toolchain(
        cxx=cxx,
        cxx_version=version_line(cxx, first=True),
        nvcc=nvcc,
        nvcc_version=version_line(nvcc, first=False),
    )


def extension_mode() -> Mode:
    """Return `ECHOIC_EXT`: `auto` (the default), `off` or `require`.

    Raises:
        ValueError: for any other value.
    """
    value = os.environ.get("ECHOIC_EXT") or "auto"
    for mode in get_args(Mode):
        if value == mode:
            return mode
    raise ValueError(f"ECHOIC_EXT must be auto, off or require: got {value!r}")


def find_cxx() -> str | None:
    """Return the compiler that `CXX` names, or without it the system's; never a substitute."""
    named = os.environ.get("CXX", "").strip()
    if not named:
        return shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    try:
        return shutil.which(shlex.split(named)[0])  # what follows are flags
    except ValueError:
        return None


def find_nvcc() -> str | None:
    """Return nvcc from PATH, `CUDA_HOME`, `CUDA_PATH` or the usual folder."""
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), *CUDA_FOLDERS)
    places = (str(Path(home, "bin")) for home in homes if home)
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(places))


def version_line(compiler: str | None, *, first: bool) -> str:
    """Return the first or last line of what a compiler says to `--version`."""
    if compiler is None:
        return ""
    try:
        done = subprocess.run(
            [compiler, "--version"], capture_output=True, errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return " ".join(f"does not run: {error}".split())
    lines = done.stdout.strip().splitlines() or [""]
    return lines[0] if first else lines[-1]

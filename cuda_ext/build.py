"""Building the kernels with the machine's own compilers, into a cache of the user.

The libraries use torch's stable ABI: no Python headers, no unstable symbols, so that one build
serves every Python and every torch from the floor on. Each build has a folder named by all that
could change it; it is written aside and moved there in one step. There is no lock: two processes
that build at once both succeed, and one that is killed leaves nothing that others wait for.
"""

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from echoic.cuda_ext.toolchain import find_cxx, find_nvcc, version_line

Device = Literal["cpu", "cuda"]

SOURCES = Path(__file__).parent / "csrc"
# torch 2.11: newer functions are hidden from our sources.
TORCH_TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"
CXX_FLAGS = ("-O3", "-std=c++20", "-fPIC", "-ffp-contract=off", "-fno-math-errno")
NVCC_FLAGS = ("-O3", "-std=c++20", "-Xcompiler", "-fPIC", "-DUSE_CUDA")
# sm_80 to sm_120 as they are, and the newest form that later GPUs can translate.
ARCHITECTURES = (80, 86, 89, 90, 100, 120)
AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma")
# One file per instruction set. The rest is built for any processor and picks among them.
X86_FLAGS = {
    "rows_avx2.cpp": ("-mavx2", "-mfma"),
    "rows_avx512.cpp": (*AVX512, "-mprefer-vector-width=512"),
    "search_avx2.cpp": ("-mavx2", "-mfma"),
    "search_avx512.cpp": AVX512,
    "screen_avx512_bf16.cpp": (*AVX512, "-mavx512bf16"),
}
COMPILE_SECONDS = 600
FAILURE = "failure.txt"
LEFTOVER_SECONDS = 24 * 3600


class ExtensionUnavailable(RuntimeError):
    """The kernels cannot be built or loaded here; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to build one library.

    Attributes:
        name: of the library's file.
        compiler: what runs, with the flags that the user gave it.
        compiler_version: part of the key.
        sources: each with the flags of its own.
        flags: of all of them.
        link_flags: of the library.
        torch: the folder of torch; not in the key, as one build serves them all.
    """

    name: str
    compiler: tuple[str, ...]
    compiler_version: str
    sources: tuple[tuple[Path, tuple[str, ...]], ...]
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    torch: Path

    @property
    def key(self) -> str:
        """What the build depends on, as a name for its folder."""
        digest = hashlib.sha256(platform.machine().encode())
        for folder in {source.parent for source, _ in self.sources}:
            for path in sorted(p for p in folder.iterdir() if p.is_file()):
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        own = [flag for _, flags in self.sources for flag in flags]
        words = (*self.compiler, self.compiler_version, *self.flags, *own, *self.link_flags)
        digest.update("\0".join(words).encode())
        return digest.hexdigest()[:20]

    def object_commands(self, folder: Path) -> Iterator[list[str]]:
        """Yield the command that compiles each source into an object in `folder`."""
        headers = ("-isystem", str(self.torch / "include"))
        for source, flags in self.sources:
            output = str(folder / f"{source.name}.o")
            yield [*self.compiler, *self.flags, *headers, *flags, "-c", str(source), "-o", output]

    def link_command(self, folder: Path) -> list[str]:
        """Return the command that makes the library in `folder` of the objects there."""
        objects = [str(folder / f"{source.name}.o") for source, _ in self.sources]
        library = str(folder / self.name)
        libraries = f"-L{self.torch / 'lib'}"
        return [*self.compiler, "-shared", *objects, "-o", library, libraries, *self.link_flags]


def cpu_plan() -> Plan:
    """Return how to build the library for the processor.

    Raises:
        ExtensionUnavailable: no C++ compiler.
    """
    found = find_cxx()
    if found is None:
        named = os.environ.get("CXX", "").strip()
        why = f"CXX names {named!r}, which is not there" if named else "no C++ compiler found"
        raise ExtensionUnavailable(f"{why}: install g++ or clang, or set CXX")
    extra = shlex.split(os.environ.get("CXX", ""))[1:]
    intel = platform.machine().lower() in ("x86_64", "amd64")
    return Plan(
        name="libechoic_cpu.so",
        compiler=(found, *extra),
        compiler_version=version_line(found, first=True),
        sources=tuple(
            (path, X86_FLAGS.get(path.name, ()))
            for path in sorted((SOURCES / "cpu").glob("*.cpp"))
            if intel or path.name not in X86_FLAGS
        ),
        flags=(*CXX_FLAGS, TORCH_TARGET),
        link_flags=("-ltorch_cpu",),
        torch=_torch_root(),
    )


def cuda_plan() -> Plan:
    """Return how to build the library for CUDA devices.

    Raises:
        ExtensionUnavailable: no nvcc.
    """
    nvcc = find_nvcc()
    if nvcc is None:
        raise ExtensionUnavailable("no nvcc found: install the CUDA toolkit, or set CUDA_HOME")
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    newest = ARCHITECTURES[-1]
    codes.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    return Plan(
        name="libechoic_cuda.so",
        compiler=(nvcc,),
        compiler_version=version_line(nvcc, first=False),
        sources=tuple((path, ()) for path in sorted((SOURCES / "cuda").glob("*.cu"))),
        flags=(*NVCC_FLAGS, *codes, TORCH_TARGET),
        link_flags=("-ltorch_cpu", "-ltorch_cuda"),
        torch=_torch_root(),
    )


def plan_for(device: Device) -> Plan:
    """Return the plan of a device's library; raises `ExtensionUnavailable`."""
    return cpu_plan() if device == "cpu" else cuda_plan()


def cache_folder() -> Path:
    """Return where builds are kept: `ECHOIC_EXT_CACHE`, else the user's cache folder."""
    own = os.environ.get("ECHOIC_EXT_CACHE")
    if own:
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "echoic" / "ext"


def library_path(plan: Plan) -> Path:
    """Return where the library of a plan is, or will be."""
    return cache_folder() / plan.key / plan.name


def build(plan: Plan, *, force: bool = False) -> Path:
    """Build a library unless it is there already, and return its path.

    Args:
        plan: what to build.
        force: build it anew.

    Raises:
        ExtensionUnavailable: the compiler fails, or the cache cannot be written.
    """
    done = library_path(plan)
    if done.is_file() and not force:
        return done
    try:
        _build(plan, done)
    except ExtensionUnavailable as error:
        _note_failure(plan, str(error))
        raise
    return done


def last_failure(plan: Plan) -> str | None:
    """Return why the last build of a plan failed, or None."""
    try:
        return (library_path(plan).parent / FAILURE).read_text(encoding="utf-8")
    except OSError:
        return None


def _note_failure(plan: Plan, why: str) -> None:
    with contextlib.suppress(OSError):  # where nothing can be built, nothing can be noted
        (library_path(plan).parent / FAILURE).write_text(why, encoding="utf-8")


def _build(plan: Plan, done: Path) -> None:
    try:
        done.parent.mkdir(parents=True, exist_ok=True)
        _sweep(cache_folder())
        with tempfile.TemporaryDirectory(prefix="building-", dir=cache_folder()) as folder:
            _compile(plan, Path(folder))
            os.replace(Path(folder) / plan.name, done)
        (done.parent / FAILURE).unlink(missing_ok=True)
    except OSError as error:
        raise ExtensionUnavailable(
            f"cannot build in {cache_folder()}: {_one_line(str(error))}; set ECHOIC_EXT_CACHE to a "
            "folder that can be written"
        ) from error


def _compile(plan: Plan, folder: Path) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(_run, plan.object_commands(folder)))
    _run(plan.link_command(folder))


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=COMPILE_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ExtensionUnavailable(f"{command[0]} took over {COMPILE_SECONDS} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else "it said nothing"
        telling = next((line for line in lines if "error" in line.lower()), last)
        raise ExtensionUnavailable(
            f"{command[0]} failed with status {done.returncode}: {_one_line(telling)}"
        )


def _sweep(folder: Path) -> None:
    """Remove what killed builds left, a day later: a build in progress is younger."""
    for leftover in folder.glob("building-*"):
        try:
            old = time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS
        except FileNotFoundError:  # another process was done with it
            continue
        if old:
            shutil.rmtree(leftover, ignore_errors=True)


def _torch_root() -> Path:
    import torch

    return Path(torch.__file__).parent


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]

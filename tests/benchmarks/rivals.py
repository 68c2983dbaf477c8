"""The systems that are measured, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from benchmarks.settings import Settings
from benchmarks.weights import Weights

WORKER = Path(__file__).with_name("worker.py")
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Spec:
    """A system to start.

    Attributes:
        name: in tables.
        package: what must be installed for it.
        arguments: what the worker's class takes, and `system`.
        ours: whether it is echoic.
    """

    name: str
    package: str
    arguments: Mapping[str, Any]
    ours: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether it can run here."""
        return importlib.util.find_spec(self.package) is not None


def echoic(model: str, dtype: str = "auto", name: str = "") -> Spec:
    """Return echoic with one model and arithmetic."""
    arguments = {"system": "echoic", "model": model, "dtype": dtype, "batch_size": BATCH_SIZE}
    return Spec(name or f"echoic {dtype}", "echoic", arguments, ours=True)


def rivals(weights: Weights, batch_sizes: Sequence[int]) -> list[Spec]:
    """Return all rivals, with one batched pipeline for each batch size."""
    f32, i8 = str(weights.ct2_float32), str(weights.ct2_int8)
    found = [
        Spec(
            "openai-whisper",
            "whisper",
            {"system": "openai-whisper", "model": str(weights.openai)},
        ),
        _faster("float32", f32, "float32"),
        _faster("int8", i8, "int8"),
    ]
    for size in batch_sizes:
        found.append(_faster(f"int8 batch {size}", i8, "int8", batch_size=size))
    return found


def _faster(suffix: str, model: str, compute_type: str, **more: int) -> Spec:
    arguments = {"system": "faster-whisper", "model": model, "compute_type": compute_type, **more}
    return Spec(f"faster-whisper {suffix}", "faster_whisper", arguments)


@dataclass(frozen=True, slots=True)
class Run:
    """One pass of one system over all files.

    Attributes:
        texts: one per file.
        wall: seconds.
        cpu: seconds of processor time, children's included.
        peak: bytes; the largest resident size of the process so far.
        others: processors kept busy by everything else on the machine meanwhile, on average.
    """

    texts: tuple[str, ...]
    wall: float
    cpu: float
    peak: int
    others: float


class Process:
    """A running system; a context manager that ends it.

    Attributes:
        spec: what was started.
        about: what the system chose while loading: arithmetic, batch size.
        load: seconds it took to load, imports included.
    """

    def __init__(self, spec: Spec, settings: Settings, folder: Path) -> None:
        self.spec = spec
        self._log_path = folder / f"{spec.name.replace(' ', '-')}.log"
        self._log = self._log_path.open("w+", encoding="utf-8")
        arguments = {**spec.arguments, "threads": settings.threads, "fallback": settings.fallback}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=_environment(settings.threads, folder),
        )
        try:
            ready = self._answer()
        except BaseException:
            self._end()
            raise
        self.about = str(ready["about"])
        self.load = float(ready["load"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def transcribe(self, files: Sequence[Path]) -> Run:
        """Transcribe files and measure it.

        Raises:
            RuntimeError: the process died; the message ends with its last words.
        """
        assert self._process.stdin is not None
        busy = _busy_seconds()
        self._process.stdin.write(json.dumps({"files": [str(f) for f in files]}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        others = (_busy_seconds() - busy - answer["cpu"]) / answer["wall"]
        return Run(
            texts=tuple(answer["texts"]),
            wall=answer["wall"],
            cpu=answer["cpu"],
            peak=answer["peak"],
            others=max(others, 0.0),
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            said = self._log_path.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{self.spec.name} ended with {code}: {said[-2000:]}")
        return json.loads(line)

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


def _environment(threads: int, folder: Path) -> dict[str, str]:
    """Equal threads for everybody, threads that sleep while others run, no GPU, no network."""
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "KMP_BLOCKTIME": "0",
        "OMP_WAIT_POLICY": "passive",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PATH": os.pathsep.join([str(_ffmpeg(folder)), os.environ.get("PATH", "")]),
    }


def _ffmpeg(folder: Path) -> Path:
    """Return a folder with imageio-ffmpeg's program as `ffmpeg`, which openai-whisper calls."""
    place = folder / "bin"
    if not place.exists() and importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        place.mkdir()
        (place / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    return place


def _busy_seconds() -> float:
    """Processor time that the whole machine has spent on work since it started."""
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    # Guests' time is part of the user's.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return sum(times) - waiting - guests

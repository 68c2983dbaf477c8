"""`echoic env`: the page of facts to paste into a bug report, and what is missing with its mend."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

State = Literal["ok", "missing", "info"]

PACKAGES = {
    "torch": "pip install 'torch>=2.11,<2.14'",
    "soundfile": "pip install soundfile",
    "soxr": "pip install soxr",
    "tokenizers": "pip install tokenizers",
    "silero-vad": "pip install silero-vad",
    "transformers": "pip install 'echoic[train]'",
    "peft": "pip install 'echoic[train]'",
    "lightning": "pip install 'echoic[train]'",
    "torchaudio": "pip install 'echoic[train]'",
    "librosa": "pip install 'echoic[plot]'",
    "jiwer": "pip install 'echoic[metrics]'",
    "sounddevice": "pip install 'echoic[mic]'",
}


@dataclass(frozen=True)
class Fact:
    """One line of the report: `value` is what was found, or why not, and `mend` what to type."""

    topic: str
    state: State
    value: str
    mend: str = ""


def register(app: typer.Typer) -> None:
    """Add the verb `env` to the command line."""
    app.command("env")(env)


def env(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Print versions, devices, the extension's state and what is missing."""
    facts = list(gather())
    if as_json:
        typer.echo(json.dumps([asdict(fact) for fact in facts], indent=2))
        return
    width = max(len(fact.topic) for fact in facts)
    for fact in facts:
        mark = {"ok": "  ", "info": "  ", "missing": "- "}[fact.state]
        mend = f"   ({fact.mend})" if fact.mend else ""
        typer.echo(f"{mark}{fact.topic:<{width}}  {fact.value}{mend}")


def gather() -> Iterator[Fact]:
    """Yield every fact; whatever a probe raises becomes a fact, never a traceback."""
    yield Fact("echoic", "ok", importlib.metadata.version("echoic"))
    yield Fact("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Fact("system", "info", f"{platform.platform()}, {os.cpu_count()} processors")
    for package, mend in PACKAGES.items():
        yield _package(package, mend)
    yield from _torch_facts()
    yield from _torchaudio_guard()
    yield from _audio_facts()
    yield from _extension_facts()
    yield from _models()


def _package(name: str, mend: str) -> Fact:
    try:
        return Fact(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Fact(name, "missing", "not installed", mend)


def _torch_facts() -> Iterator[Fact]:
    import torch

    yield Fact("cpu arithmetic", "info", torch.backends.cpu.get_cpu_capability())
    yield Fact("cpu threads", "info", str(torch.get_num_threads()))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield Fact(f"cuda:{index}", "ok", torch.cuda.get_device_name(index))
    else:
        built = torch.version.cuda or "none"
        yield Fact("cuda", "info", f"no device (this torch was built for CUDA: {built})")
    if torch.backends.mps.is_available():
        yield Fact("mps", "ok", "available")


def _torchaudio_guard() -> Iterator[Fact]:
    if importlib.util.find_spec("torchaudio") is None:
        return
    from echoic.audio import torchaudio_guard

    importlib.import_module("torchaudio")
    why = torchaudio_guard.missing_library()
    if why is None:
        yield Fact("torchaudio native code", "ok", "loaded")
    else:
        mend = "harmless; for its native functions take torchaudio from the PyTorch CPU index"
        yield Fact("torchaudio native code", "info", f"guarded: {why}", mend)


def _audio_facts() -> Iterator[Fact]:
    import soundfile

    from echoic.audio.ffmpeg import find_ffmpeg

    formats = ", ".join(sorted(soundfile.available_formats()))
    yield Fact("libsndfile", "ok", f"{soundfile.__libsndfile_version__}: {formats}")
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        mend = "install ffmpeg, or pip install 'echoic[ffmpeg]'"
        yield Fact("ffmpeg", "missing", "not found: m4a, mp4 and webm cannot be read", mend)
    else:
        yield Fact("ffmpeg", "ok", str(ffmpeg))


def _extension_facts() -> Iterator[Fact]:
    from echoic.cuda_ext import toolchain

    try:
        found = toolchain.probe()
    except ValueError as error:
        yield Fact("extension", "missing", str(error), "unset ECHOIC_EXT")
        return
    yield Fact("extension", "info", f"no kernels yet (ECHOIC_EXT={found.mode})")
    if found.cxx is None:
        yield Fact("c++ compiler", "missing", "not found", "install g++ or clang")
    else:
        yield Fact("c++ compiler", "ok", f"{found.cxx}: {found.cxx_version}")
    yield Fact("nvcc", "info", f"{found.nvcc}: {found.nvcc_version}" if found.nvcc else "not found")


def _models() -> Iterator[Fact]:
    from echoic.asr.whisper.checkpoint import box_models

    for model in box_models():
        size = f"{model.num_bytes / 1e6:.0f} MB"
        yield Fact(f"model {model.name}", "ok", f"{size} in {model.folder}")

"""`echoic env`: the page of facts to paste into a bug report, and what is missing with its mend."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

State = Literal["ok", "missing", "info"]
MARKS: dict[State, str] = {"ok": "  ", "info": "  ", "missing": "- "}

# Without one of these, something fails that every installation can do.
REQUIRED = {
    "torch": "pip install 'torch>=2.11,<2.14'",
    "numpy": "pip install numpy",
    "soundfile": "pip install soundfile",
    "soxr": "pip install soxr",
    "silero-vad": "pip install silero-vad",
    "safetensors": "pip install safetensors",
    "tokenizers": "pip install tokenizers",
    "huggingface_hub": "pip install huggingface_hub",
    "typer": "pip install typer",
    "tqdm": "pip install tqdm",
    "rich": "pip install rich",
    "sentencepiece": "pip install sentencepiece",
}
OPTIONAL = {
    "imageio-ffmpeg": "pip install 'echoic[ffmpeg]'",
    "jiwer": "pip install 'echoic[metrics]'",
    "whisper-normalizer": "pip install 'echoic[metrics]'",
    "pesq": "pip install 'echoic[metrics]'",
    "pystoi": "pip install 'echoic[metrics]'",
    "sounddevice": "pip install 'echoic[mic]'",
    "librosa": "pip install 'echoic[plot]'",
    "matplotlib": "pip install 'echoic[plot]'",
    "onnx": "pip install 'echoic[onnx]'",
    "onnxruntime": "pip install 'echoic[onnx]'",
    "hibari-tts": "pip install 'echoic[tts]'",
    "wetext": "pip install 'echoic[tts-zh]'",
    "ray": "pip install 'echoic[ray]'",
    "datasets": "pip install 'echoic[datasets]'",
    "gradio": "pip install 'echoic[demo]'",
    "fastapi": "pip install 'echoic[serve]'",
    "uvicorn": "pip install 'echoic[serve]'",
    "httpx": "pip install 'echoic[serve]'",
    "jsonargparse": "pip install 'echoic[train]'",
    "lightning": "pip install 'echoic[train]'",
    "peft": "pip install 'echoic[train]'",
    "torchaudio": "pip install 'echoic[train]'",
    "transformers": "pip install 'echoic[train]'",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the report.

    Attributes:
        topic: what it is about.
        state: "missing" for what does not work and should, "info" for what just is so.
        value: what was found, or why nothing was.
        mend: what to do about it.
    """

    topic: str
    state: State
    value: str
    mend: str = ""


def register(app: typer.Typer) -> None:
    """Add the verb `env` to the command line."""
    app.command("env")(env)


def env(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
) -> None:
    """Print versions, devices and what is missing, each with its mend."""
    facts = list(gather())
    if as_json:
        typer.echo(json.dumps([asdict(fact) for fact in facts], indent=2))
        return
    width = max(len(fact.topic) for fact in facts)
    for fact in facts:
        mend = f"   ({fact.mend})" if fact.mend else ""
        typer.echo(f"{MARKS[fact.state]}{fact.topic:<{width}}  {fact.value}{mend}")


def gather() -> Iterator[Fact]:
    """Yield every fact; whatever a probe raises becomes a fact, never a traceback."""
    yield _package("echoic", "pip install -e .", required=True)
    yield _python()
    yield _system()
    for package, mend in REQUIRED.items():
        yield _package(package, mend, required=True)
    for package, mend in OPTIONAL.items():
        yield _package(package, mend, required=False)
    probes: dict[str, Callable[[], Iterator[Fact]]] = {
        "torch devices": _torch_facts,
        "torchaudio native code": _torchaudio_guard,
        "libsndfile": _sndfile,
        "ffmpeg": _ffmpeg,
        "extension": _extension,
        "compilers": _compilers,
        "models": _models,
    }
    for topic, probe in probes.items():
        yield from _guarded(topic, probe)


def brief() -> dict[str, str]:
    """Return what a training depends on, by topic: versions and devices, nothing slow to find."""
    facts = [_system(), _python(), *_torch_facts()]
    packages = ("torch", "numpy", "lightning", "torchaudio", "transformers", "peft")
    facts += [_package(name, "", required=False) for name in packages]
    return {fact.topic: fact.value for fact in facts}


def _python() -> Fact:
    return Fact("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _system() -> Fact:
    return Fact("system", "info", f"{platform.platform()}, {os.cpu_count()} x {_processor()}")


def _processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _guarded(topic: str, probe: Callable[[], Iterator[Fact]]) -> Iterator[Fact]:
    try:
        yield from probe()
    except Exception as error:  # the report must come, above all where things are broken
        reason = " ".join(str(error).split())
        yield Fact(topic, "missing", f"{type(error).__name__}: {reason}")


def _package(name: str, mend: str, *, required: bool) -> Fact:
    try:
        return Fact(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        value = "not installed" if required else "not installed, optional"
        return Fact(name, "missing" if required else "info", value, mend)


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


def _sndfile() -> Iterator[Fact]:
    import soundfile

    formats = ", ".join(sorted(soundfile.available_formats()))
    yield Fact("libsndfile", "ok", f"{soundfile.__libsndfile_version__}: {formats}")


def _ffmpeg() -> Iterator[Fact]:
    from echoic.audio.ffmpeg import find_ffmpeg

    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        mend = "install ffmpeg, or pip install 'echoic[ffmpeg]'"
        yield Fact("ffmpeg", "missing", "not found: m4a, mp4 and webm cannot be read", mend)
    else:
        yield Fact("ffmpeg", "ok", str(ffmpeg))


def _extension() -> Iterator[Fact]:
    from echoic.cuda_ext.toolchain import extension_mode

    try:
        mode = extension_mode()
    except ValueError as error:
        yield Fact("extension", "missing", str(error), "unset ECHOIC_EXT")
        return
    yield Fact("extension", "info", f"ECHOIC_EXT={mode}")
    yield from _kernels("cpu")
    import torch

    if torch.cuda.is_available():
        yield from _kernels("cuda")


def _kernels(device: Literal["cpu", "cuda"]) -> Iterator[Fact]:
    from echoic.cuda_ext.library import look

    found = look(device)
    topic = f"{device} kernels"
    if found.why is not None:
        yield Fact(topic, "info", f"torch instead: {found.why}", found.mend)
    else:
        kinds = f"; instructions: {', '.join(found.instructions)}" if found.instructions else ""
        yield Fact(topic, "ok", f"{found.path}{kinds}")


def _compilers() -> Iterator[Fact]:
    from echoic.cuda_ext.toolchain import probe

    found = probe()
    if found.cxx is None:
        yield Fact("c++ compiler", "info", "not found", "install g++ or clang, or set CXX")
    else:
        yield Fact("c++ compiler", "ok", f"{found.cxx}: {found.cxx_version}")
    yield Fact("nvcc", "info", f"{found.nvcc}: {found.nvcc_version}" if found.nvcc else "not found")


def _models() -> Iterator[Fact]:
    from echoic.recipes.models import in_the_box

    for model in in_the_box():
        size = f"{model.num_bytes / 1e6:.1f} MB"
        yield Fact(f"model {model.name}", "ok", f"{size} in {model.folder}")

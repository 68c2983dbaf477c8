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

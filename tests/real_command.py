"""The real command line with the real boxed model, in this process or in one of its own."""

import functools
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner, Result

from echoic.asr import cli
from echoic.asr.transcriber import Transcriber
from echoic.recipes.cli import build_app

DATA = Path(__file__).parent / "data"
RECORDINGS = sorted(DATA.glob("*.opus"))
SHORT = DATA / "sense-and-sensibility-0880.opus"

_SUMMARY = re.compile(r"echoic: (\d+ done, \d+ failed, .* of audio in .* s.*|these failed:|  .*)")


@functools.cache
def boxed_transcriber() -> Transcriber:
    """The default model, loaded once for all tests; float32, so that nothing is measured."""
    return Transcriber.from_pretrained(cli.DEFAULT_MODEL, device="cpu", dtype="float32")


class Command:
    """Types commands in an empty folder; `really_load` lets `-m` and `--device` do their work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loader = cli.load_transcriber
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(cli, "load_transcriber", lambda *_, **__: boxed_transcriber())

    def really_load(self) -> None:
        self._monkeypatch.setattr(cli, "load_transcriber", self._loader)

    def type(self, *words: str | Path, stdin: bytes | None = None, verb: str = "") -> Result:
        line = [verb or "transcribe", *map(str, words)]
        result = CliRunner().invoke(build_app(line), line, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        assert "Traceback" not in result.stderr
        return result


def problems(result: Result | str) -> list[str]:
    """The lines of stderr but the summary and its list of what failed."""
    text = result if isinstance(result, str) else result.stderr
    return [line for line in text.splitlines() if not _SUMMARY.fullmatch(line)]


def only_problem(result: Result) -> str:
    """The one line that tells of the one problem; it ends in a remedy."""
    (line,) = problems(result)
    assert line.startswith("echoic: ")
    assert ";" in line
    assert "(unexpected" not in line
    return line.removeprefix("echoic: ")


def start(*words: str | Path, cwd: Path, **settings: Any) -> subprocess.Popen[str]:
    """Start `echoic transcribe` as a process of its own."""
    code = "from echoic.recipes.cli import main; main()"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    line = [sys.executable, "-c", code, "transcribe", *map(str, words)]
    return subprocess.Popen(line, cwd=cwd, text=True, **(pipes | settings))


@functools.cache
def speech() -> np.ndarray:
    """Three seconds of speech, (T,) float64 at 16 kHz."""
    return sf.read(SHORT)[0]


def encoded(kind: str, subtype: str, x: np.ndarray | None = None, rate: int = 16000) -> bytes:
    """Sound, (T,) or (T, C), as the bytes of a file; None takes `speech`."""
    out = io.BytesIO()
    sf.write(out, speech() if x is None else x, rate, format=kind, subtype=subtype)
    return out.getvalue()

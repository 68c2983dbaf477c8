"""`echoic codec` with the tiny codec, in this process or in one of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner, Result

from echoic.audio.io import save
from echoic.recipes.cli import build_app

SPEECH = sorted((Path(__file__).parent / "data").glob("*.opus"))
SHORT = next(path for path in SPEECH if "0880" in path.name)
RATE = 16000


def codec(*words: str | Path, stdin: bytes | None = None) -> Result:
    """Type `echoic codec ...`; whatever is wrong comes without a traceback."""
    line = ["codec", *map(str, words)]
    result = CliRunner().invoke(build_app(line), line, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    assert "Traceback" not in result.stderr
    return result


def done(*words: str | Path, stdin: bytes | None = None) -> Result:
    """The same, where all goes well."""
    result = codec(*words, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result


def only_problem(result: Result, code: int) -> str:
    """The one line that tells of the one problem."""
    assert result.exit_code == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("echoic: ")
    assert "unexpected" not in line
    return line.removeprefix("echoic: ")


def start_codec(*words: str | Path, cwd: Path, **settings: Any) -> subprocess.Popen[bytes]:
    """Start `echoic codec` as a process of its own."""
    code = "from echoic.recipes.cli import main; main()"
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    line = [sys.executable, "-c", code, "codec", *map(str, words)]
    return subprocess.Popen[bytes](line, cwd=cwd, **(pipes | settings))


def noise_file(path: Path, seconds: float = 1.0, *, rate: int = RATE, channels: int = 1) -> Path:
    """A recording of noise; its length in samples is a little odd."""
    generator = torch.Generator().manual_seed(channels)
    wav = 0.1 * torch.randn(channels, round(seconds * rate) + 7, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, wav, rate)
    return path


def flip_bit(data: bytes, at: int) -> bytes:
    """The same bytes but for one bit."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

"""`echoic stream` in this process or in one of its own, with a quick recogniser or the real one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from energy_words import EnergyWords
from typer.testing import CliRunner, Result

from echoic.asr import stream_cli
from echoic.recipes.cli import build_app

TESTS = Path(__file__).parent

_QUICK = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from energy_words import EnergyWords
from echoic.asr import stream_cli
stream_cli.load = lambda *_, **__: EnergyWords()
"""
_RUN = "from echoic.recipes.cli import main; main()"


class StreamCommand:
    """Types `echoic stream`; keeps what was asked of the loader."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[dict[str, Any]] = []
        self.really_load = stream_cli.load
        monkeypatch.setattr(stream_cli, "load", self._load)

    def _load(self, model: str, **settings: Any) -> EnergyWords:
        self.loaded.append({"model": model, **settings})
        return EnergyWords()

    def type(self, *words: str | Path, stdin: bytes | None = None) -> Result:
        line = ["stream", *map(str, words)]
        result = CliRunner().invoke(build_app(line), line, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        assert "Traceback" not in result.stderr
        return result


def start_stream(
    *words: str | Path, cwd: Path, quick: bool = True, **settings: Any
) -> subprocess.Popen[bytes]:
    """Start `echoic stream` as a process of its own."""
    code = _QUICK + _RUN if quick else _RUN
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    line = [sys.executable, "-c", code, "stream", *map(str, words)]
    return subprocess.Popen[bytes](line, cwd=cwd, **(pipes | settings))

"""`echoic serve`: what is told when it cannot begin."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from echoic.recipes.cli import build_app
from echoic.streaming import cli


def serve(*options: str) -> Result:
    line = ["serve", *options]
    return CliRunner().invoke(build_app(line), line)


def test_wrong_usage_is_one_line(tmp_path: Path):
    empty = tmp_path / "keys"
    empty.write_text("\n")
    for options, words in (
        (["-m", "nowhere/at/all"], "nowhere/at/all"),
        (["-m", "none", "--talker", "none"], "nothing is to be served"),
        (["--api-key-file", str(empty)], "holds no key"),
        (["--api-key-file", str(tmp_path / "gone")], "gone"),
        (["--adapter", "radio"], "expected NAME=FOLDER"),
        (["--adapter", "radio=a", "--adapter", "radio=b"], "given twice"),
    ):
        result = serve(*options, "-q")
        assert result.exit_code == cli.WRONG_USAGE
        (line,) = result.stderr.splitlines()
        assert line.startswith("echoic: ")
        assert words in line


def test_a_taken_port_is_told(monkeypatch: pytest.MonkeyPatch):
    from served import FakeFiles

    from echoic.streaming.server.models import Catalog

    monkeypatch.setattr(cli, "load_catalog", lambda *_, **__: Catalog((), (FakeFiles(),)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = serve("--port", str(taken.getsockname()[1]))
    assert result.exit_code == cli.FAILED
    assert "give another --port" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "_NEEDED", ("no_such_module",))
    result = serve()
    assert result.exit_code == cli.FAILED
    assert "pip install 'echoic[serve]'" in result.stderr

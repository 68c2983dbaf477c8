"""The verb `demo`: what it loads, and what it says when it cannot."""

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import typer
from demo_parts import Reciter
from typer.testing import CliRunner, Result

from echoic.asr.errors import CheckpointError
from echoic.demo import cli
from echoic.demo.hub import LiveHub


class Served:
    """What the command would have loaded and served."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[dict[str, Any]] = []
        self.served: list[dict[str, Any]] = []
        self.hubs: list[LiveHub] = []
        monkeypatch.setattr(cli, "load_recognizer", self.load)
        monkeypatch.setattr(cli, "serve", self.serve)

    def load(self, model: str, **settings: Any) -> Reciter:
        self.loaded.append({"model": model, **settings})
        return Reciter("words")

    def serve(self, hub: LiveHub, chunk_ms: int, **settings: Any) -> None:
        self.hubs.append(hub)
        self.served.append({"chunk_ms": chunk_ms, **settings})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(monkeypatch)


def run(*words: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    cli.register(app)
    result = CliRunner().invoke(app, ["demo", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_defaults(served: Served):
    assert run().exit_code == 0
    assert served.loaded == [
        {"model": "tiny.en", "policy": "causal", "chunk_ms": 320, "device": "auto"}
    ]
    assert served.served == [
        {
            "chunk_ms": 320,
            "model": "tiny.en",
            "device": "auto",
            "host": "127.0.0.1",
            "port": None,
            "share": False,
            "browser": True,
        }
    ]


def test_options_reach_the_recogniser_and_the_server(served: Served):
    words = "--model base --policy agreement --chunk-ms 500 --device cpu --no-browser --share"
    assert run(*words.split(), "--host", "0.0.0.0", "--port", "8080").exit_code == 0
    assert served.loaded == [
        {"model": "base", "policy": "agreement", "chunk_ms": 500, "device": "cpu"}
    ]
    assert served.served == [
        {
            "chunk_ms": 500,
            "model": "base",
            "device": "cpu",
            "host": "0.0.0.0",
            "port": 8080,
            "share": True,
            "browser": False,
        }
    ]
    assert served.hubs[0].chunk_choices == (160, 320, 500, 640, 1000)


def test_other_policies_hear_a_second_at_once(served: Served):
    run("--policy", "alignatt")
    assert served.loaded[0]["chunk_ms"] == 1000


def test_without_gradio_one_line_says_how_to_get_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run()
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "echoic: the demo needs Gradio: pip install 'echoic[demo]'\n"
    assert served.loaded == []


def test_a_model_that_is_not_there_is_one_line(served: Served, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise CheckpointError("no adapter makes x causal: take --policy agreement")

    monkeypatch.setattr(cli, "load_recognizer", fail)
    result = run("--model", "x")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1:] == [
        "echoic: no adapter makes x causal: take --policy agreement"
    ]
    assert served.served == []


def test_a_port_that_is_taken_is_one_line(served: Served, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("Cannot find empty port in range: 80-80. You can specify another")

    monkeypatch.setattr(cli, "serve", fail)
    result = run("--port", "80")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        "echoic: cannot serve at 127.0.0.1:80: Cannot find empty port in range: 80-80; "
        "give another --port"
    ]


def test_help_needs_neither_gradio_nor_torch():
    code = (
        "import sys, typer\n"
        "from echoic.demo import cli\n"
        "app = typer.Typer(); cli.register(app)\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('gradio', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--chunk-ms" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"

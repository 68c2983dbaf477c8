"""`--language-adapter` of `echoic transcribe` and `echoic stream`, as it is typed."""

from pathlib import Path
from typing import Any

import pytest
from adapted_whisper import calm_whisper, some_adapter
from fake_transcriber import FakeTranscriber
from speech_data import DATA
from typer.testing import CliRunner, Result

from echoic.asr import cli, stream_cli
from echoic.asr.whisper.language_adapter_file import save_language_adapter
from echoic.recipes.cli import build_app


def echoic(*words: str | Path) -> Result:
    line = [str(word) for word in words]
    return CliRunner().invoke(build_app(line), line)


@pytest.fixture
def recording() -> Path:
    return next(DATA.glob("*.opus"))


def test_adapters_come_to_the_transcriber(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[dict[str, Any]] = []

    def load(name: str, **settings: Any) -> FakeTranscriber:
        loaded.append(settings)
        return FakeTranscriber()

    monkeypatch.setattr(cli, "load_transcriber", load)
    words = ("--language-adapter", "es", "--language_adapter", "fr")
    assert echoic("transcribe", recording, *words).exit_code == 0
    assert loaded[0]["language_adapters"] == ("es", "fr")
    assert echoic("transcribe", recording, "--streaming", *words).exit_code == 0
    assert (loaded[1]["language_adapters"], loaded[1]["policy"]) == (("es", "fr"), "causal")


def test_adapters_come_to_the_live_recogniser(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[dict[str, Any]] = []

    def load(model: str, **settings: Any) -> Any:
        loaded.append(settings)
        raise ValueError("enough")

    monkeypatch.setattr(stream_cli, "load", load)
    echoic("stream", recording, "--language-adapter", "es", "--language-adapter", "fr")
    echoic("stream", recording)
    assert loaded[0]["language_adapters"] == ("es", "fr")
    assert "language_adapters" not in loaded[1]


@pytest.mark.parametrize("verb", ["transcribe", "stream"])
def test_an_adapter_that_does_not_fit_is_one_line(
    verb: str, recording: Path, tmp_path: Path
) -> None:
    save_language_adapter(tmp_path / "es", some_adapter(calm_whisper()))
    for given, message in (
        (tmp_path / "none", "is no language adapter"),
        (tmp_path / "es", "is for 2 encoder layers of width 16, this model has 4 of 384"),
    ):
        done = echoic(verb, recording, "--language-adapter", given)
        assert done.exit_code == 2
        (line,) = [line for line in done.stderr.splitlines() if message in line]
        assert "Traceback" not in done.output
        assert str(given) in line


@pytest.mark.parametrize("verb", ["transcribe", "stream"])
def test_a_paraformer_has_none(verb: str, recording: Path) -> None:
    done = echoic(verb, recording, "--language-adapter", "es", "-m", "paraformer-tiny-en")
    assert done.exit_code == 2
    assert "this is a Paraformer: leave it out" in done.stderr

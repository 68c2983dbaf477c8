"""`echoic data convert`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from echoic.recipes.cli import build_app
from echoic.recipes.data.convert import Form, form_of

DATA = Path(__file__).parents[2] / "data"
NAME = "sense-and-sensibility-0880.opus"
ROW = {"audio": NAME, "id": "a", "duration": 2.99, "text": "he was", "lang": "en"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a recording and a manifest of it."""
    shutil.copy(DATA / NAME, tmp_path)
    (tmp_path / "m.jsonl").write_text(json.dumps(ROW) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def convert(*words: str) -> Result:
    line = ["data", "convert", *words]
    result = CliRunner().invoke(build_app(line), line)
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    return result


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_to_cuts_and_back(folder: Path):
    result = convert("m.jsonl", "cuts.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "cuts.jsonl: 1 utterances, lhotse\n"
    assert form_of(folder / "cuts.jsonl") is Form.LHOTSE
    assert form_of(folder / "m.jsonl") is Form.MANIFEST
    result = convert("cuts.jsonl", "back.jsonl")
    assert (result.exit_code, result.stdout) == (0, "back.jsonl: 1 utterances, manifest\n")
    assert rows(folder / "back.jsonl") == [ROW | {"sample_rate": 16000}]


def test_to_a_data_set_and_back(folder: Path):
    pytest.importorskip("datasets")
    result = convert("m.jsonl", "set")
    assert (result.exit_code, result.stdout) == (0, "set: 1 utterances, hf\n")
    assert form_of(folder / "set") is Form.HF
    assert convert("set", "new/back.jsonl").exit_code == 0
    audio = "back.jsonl.audio/0000/00000001.opus"
    assert rows(folder / "new" / "back.jsonl") == [ROW | {"audio": audio}]
    assert (folder / "new" / audio).read_bytes() == (folder / NAME).read_bytes()


def test_bad_lines_are_told_or_left_out(folder: Path, caplog: pytest.LogCaptureFixture):
    with (folder / "m.jsonl").open("a") as file:
        file.write('[]\n{"audio": "gone.opus"}\n')
    result = convert("m.jsonl", "cuts.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("echoic: m.jsonl, line 2: a list, not an object; write")
    assert not (folder / "cuts.jsonl").exists()
    result = convert("m.jsonl", "cuts.jsonl", "--skip-bad")
    assert (result.exit_code, result.stdout) == (0, "cuts.jsonl: 1 utterances, lhotse\n")
    assert caplog.messages[-1] == "2 lines left out"


def test_what_is_there_stays_but_when_told(folder: Path):
    (folder / "cuts.jsonl").write_text("old")
    result = convert("m.jsonl", "cuts.jsonl")
    assert (result.exit_code, (folder / "cuts.jsonl").read_text()) == (2, "old")
    assert "cuts.jsonl is there; choose another OUT" in result.stderr
    assert convert("m.jsonl", "cuts.jsonl", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["m.jsonl", "n.jsonl", "--to", "manifest"], 2, "IN and OUT are both manifest"),
        (["no.jsonl", "cuts.jsonl"], 1, "no.jsonl: No such file or directory; check the path"),
        (["empty", "m2.jsonl"], 1, "empty is a folder without a data set"),
        (["m.jsonl", "o.jsonl", "--from", "lhotse"], 1, "line 1: type is None, expected MonoCut"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, words: list[str], code: int, message: str):
    (folder / "empty").mkdir()
    result = convert(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1

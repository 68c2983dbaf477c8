"""`echoic data check`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from echoic.recipes.cli import build_app

DATA = Path(__file__).parents[2] / "data"


def check(*words: str | Path) -> Result:
    line = ["data", "check", *map(str, words)]
    result = CliRunner().invoke(build_app(line), line)
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    return result


def test_nothing_is_wrong():
    path = DATA / "manifest.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    result = check(path)
    assert (result.exit_code, result.stderr) == (0, "")
    hours = sum(row["duration"] for row in rows) / 3600
    assert result.stdout == (
        f"{len(rows)} utterances, {hours:.2f} hours, {len({r['speaker'] for r in rows})} speakers, "
        f"languages en ({len(rows)})\n"
    )


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(b"sound")
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio": "a.wav"}\n[]\n{"audio": "b.wav", "text": 1}\n')
    return path


def test_what_is_wrong_is_listed(bad: Path):
    result = check(bad)
    assert (result.exit_code, result.stderr) == (1, "")
    *problems, last = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in problems] == [f"{bad}:2", f"{bad}:3", f"{bad}:3"]
    assert problems[0].endswith('a list, not an object; write {"audio": "a.wav"}, one a line')
    assert last == (
        "1 utterances, 0.00 hours, 1 of unknown duration, 0 speakers, languages none (1), "
        "2 bad lines"
    )
    assert len(check(bad, "--no-files").stdout.splitlines()) == 3


def test_bad_lines_can_be_forgiven_but_not_all(bad: Path):
    assert check(bad, "--skip-bad").stdout == check(bad).stdout
    assert check(bad, "--skip-bad").exit_code == 0
    bad.write_text("[]\n")
    assert check(bad, "--skip-bad").exit_code == 1


def test_a_file_that_is_not_there(tmp_path: Path):
    result = check(tmp_path / "no.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"echoic: {tmp_path / 'no.jsonl'}: No such file")

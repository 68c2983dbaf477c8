"""The command `data stats`: tables on stdout, one line on stderr where there are none."""

import json
from pathlib import Path

import pytest
from lengths import of_all_kinds
from paraformer_runs import write_vocabulary
from speech_data import fifty
from typer.testing import CliRunner

from echoic.recipes.cli import build_app


def stats(*words: object):
    return CliRunner().invoke(build_app(["data"]), ["data", "stats", *map(str, words)])


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [
        {
            "audio": f"{i}.wav",
            "duration": round(float(seconds), 3),
            "text": " ".join(int(tokens) * ["ab"]),
            "split": "dev" if i % 4 == 0 else "train",
        }
        for i, (seconds, tokens) in enumerate(zip(*of_all_kinds(1000), strict=True))
    ]
    return write(tmp_path / "rows.jsonl", rows)


def test_tables(manifest: Path) -> None:
    done = stats(f"{manifest},split=train", "--buckets", "12x4", "--batch-seconds", "60")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("750 utterances, 1.48 hours, 0.50 to 30.00 s, 7.")
    assert "words a second" in lines[0]
    assert lines[3].split()[:4] == ["0", "to", "2", "56"]
    assert [line[:22].strip() for line in lines[-4:]] == [
        "pad to 30 s", "random batches of 32", "12 duration buckets", "12 x 4 buckets",
    ]  # fmt: skip
    shares = [[float(word[:-1]) for word in line.split() if "%" in word] for line in lines[-4:]]
    assert len(shares[0]) == 1
    assert shares[1][1] > shares[2][1] > shares[3][1]
    assert shares[1][0] > 5 * shares[3][0]


def test_an_object(manifest: Path) -> None:
    words = json.loads(stats(manifest, "--json").stdout)
    found = json.loads(stats(manifest, "--json", "--tokens", "chars").stdout)
    assert found["utterances"] == 1000
    assert found["tokens"] == 2 * words["tokens"]
    assert sum(b["utterances"] for b in found["histogram"]) == 1000
    assert sum(b["hours"] for b in found["histogram"]) == pytest.approx(found["seconds"] / 3600)
    assert found["padding"][0]["decoder"] is None
    assert found["padding"][1]["steps"] == 32


def test_tokens_of_a_vocabulary_and_durations_of_files(tmp_path: Path) -> None:
    said = fifty()[:12]
    path = write(tmp_path / "rows.jsonl", [{"audio": str(u.path), "text": u.text} for u in said])
    vocabulary = write_vocabulary(tmp_path / "vocabulary", said)
    done = stats(path, "--tokens", vocabulary, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    seconds = sum(len(u.wav) for u in said) / 16_000
    assert found["seconds"] == pytest.approx(seconds, rel=0.01)
    # The vocabulary has letters only, and no blanks.
    assert found["tokens"] <= sum(len(u.text) for u in said)
    assert "tokens a second" in stats(path, "--tokens", vocabulary).stdout


def test_a_manifest_without_texts(tmp_path: Path) -> None:
    rows = [{"audio": f"{i}.wav", "duration": 1 + i} for i in range(40)]
    lines = stats(write(tmp_path / "rows.jsonl", rows)).stdout.splitlines()
    assert lines[0].endswith("on average")
    assert len([line for line in lines if "%" in line]) == 3


def test_a_picture(manifest: Path, tmp_path: Path) -> None:
    done = stats(manifest, "--plot", tmp_path / "picture.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--buckets", "30"], "--buckets is '30', expected two numbers such as 30x5"),
        (["--tokens", "gone"], "--tokens is 'gone', expected words, chars, or a folder"),
        (["--batch-seconds", "0"], "0"),
    ],
)
def test_wrong_usage(words: list[str], message: str, manifest: Path) -> None:
    done = stats(manifest, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([], [], "has no utterances; name a manifest with some"),
        ([{"audio": "a.wav", "duration": 1.0}], [",lang=ru"], "no utterances of lang 'ru'"),
        ([{"audio": "gone.wav"}], [], "gone.wav"),
        ([{"audio": 3}], [], "rows.jsonl, line 1"),
        ([{"audio": "a.wav", "duration": 1.0}], ["", "--plot", "gone/a.png"], "no folder gone"),
    ],
)
def test_what_has_no_statistics(
    rows: list[dict], words: list[str], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.jsonl", rows)
    conditions, *more = words or [""]
    done = stats(f"{path}{conditions}", *more)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1

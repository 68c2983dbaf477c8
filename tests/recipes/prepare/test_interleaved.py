"""`echoic prepare interleaved`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from small_talker import small_talker
from typer.testing import CliRunner, Result

from echoic.recipes.cli import build_app
from echoic.tts.unified.training.example_file import read_examples


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    small_talker().save_pretrained(folder)
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"Line {n} has some words, and then a few more.\n" for n in range(4)))
    return path


def echoic(*words: str | Path) -> Result:
    line = ["prepare", "interleaved", *map(str, words)]
    return CliRunner().invoke(build_app(line), line)


def test_texts_become_a_corpus(talker: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    wanted = ("--model", talker, "--eta", "0.4", "--span", "2")
    done = echoic(texts, out, *wanted)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out}: 4 documents, ")
    assert " of 40 words spoken (" in done.stdout
    assert len(read_examples(out).examples) == 4
    again = echoic(texts, out, *wanted)
    assert again.exit_code == 2
    assert "is there: --overwrite it" in again.stderr
    first = out.read_bytes()
    assert echoic(texts, out, *wanted, "--overwrite").exit_code == 0
    assert out.read_bytes() == first
    rows = first.splitlines()[1:]
    for part in (1, 2):
        shared = tmp_path / f"{part}.jsonl"
        done = echoic(texts, shared, *wanted, "--part", f"{part}/2")
        assert shared.read_bytes().splitlines()[1:] == rows[part - 1 :: 2], done.output


def test_bad_lines_are_told_and_passed_over(talker: Path, tmp_path: Path) -> None:
    texts, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    lines = [
        json.dumps({"text": f"Some words of line {n}, and some more of them."}) for n in range(3)
    ]
    texts.write_text("\n".join([lines[0], "{", *lines[1:]]))
    done = echoic(texts, out, "--model", talker, "--span", "2")
    assert done.exit_code == 1
    assert f"echoic: {texts}, line 2: Expecting" in done.stderr
    assert "1 lines passed over" in done.stderr
    assert len(read_examples(out).examples) == 3


def test_misuse_ends_with_2_and_a_line(talker: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    for words, message in (
        ((texts, out, "--model", talker, "--eta", "2"), "eta is 2, expected"),
        ((texts, out, "--model", tmp_path / "none"), "no talker"),
        ((tmp_path / "no.txt", out, "--model", talker), "no.txt"),
        ((texts, texts, "--model", talker, "--overwrite"), "is the texts themselves"),
        ((empty, out, "--model", talker), "not one document"),
        ((texts, out), "--model"),
        ((texts, out, "--model", talker, "--part", "3/2"), "is not I/N"),
    ):
        done = echoic(*words)
        assert done.exit_code == 2, (words, done.output)
        assert message in done.stderr
        assert "Traceback" not in done.output
    assert not out.exists()
    assert texts.read_text().startswith("Line 0")

"""N-grams for a model's folder, of manifests and prose."""

import json
from pathlib import Path

import pytest
from small_paraformer import paraformer

from echoic.asr.paraformer.fusion import FILE, read_fusion
from echoic.recipes.prepare.ngrams import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paraformer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def manifest(path: Path, *texts: str) -> str:
    rows = [
        {"audio": f"{n}.wav", "duration": 1.0, "text": text, "split": "train"}
        for n, text in enumerate(texts)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return f"{path},split=train"


def test_a_model_learns_what_follows_what(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    book = tmp_path / "book.txt"
    book.write_text("Hello, world! Hello, hello world.\n\nHello you.\n")
    rows = manifest(tmp_path / "m.jsonl", "hello", "world hello", "Q?")
    secret = tmp_path / "test.txt"
    secret.write_text("Nothing.\nHELLO -- world!\n")
    words = [str(folder), rows, str(book), "--labels", "words", "--weight", "0.9"]
    assert main([*words, "--least", "1", "1", "--exclude-texts", str(secret)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{folder / FILE}: 41 + ")
    assert "n-grams of 5 texts" in told, "two of the book's three"
    fusion = read_fusion(folder, 40)
    assert fusion is not None
    assert (fusion.weight, fusion.ngrams.order) == (0.9, 2)
    write = paraformer().tokenizer.encode
    counted = fusion.ngrams.levels[1].keys.tolist()
    first = [key % 41 for key in counted if key // 41 == 40]
    assert first == sorted({write("hello")[0], write("world")[0]})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["--weight", "0"], "weight is 0.0, expected a number above 0"),
        (["--least", "3", "1"], "expected numbers that do not fall"),
    ],
)
def test_what_does_not_fit_is_one_line(
    folder: Path,
    tmp_path: Path,
    changes: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
):
    assert main([str(folder), manifest(tmp_path / "m.jsonl", "hello world"), *changes]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("ngrams: ")
    assert error.count("\n") == 1
    assert not (folder / FILE).exists()


def test_files_that_are_missing_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([str(folder), str(tmp_path / "none.txt")]) == 1
    assert "none.txt" in capsys.readouterr().err
    assert main([str(tmp_path), str(tmp_path / "none.txt")]) == 1
    assert "is no Paraformer" in capsys.readouterr().err


def test_ngrams_that_others_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tokens = paraformer().tokenizer.tokens[3:]
    lines = [f"-1.5\t{token}\t-0.2" for token in tokens]
    head = ["\\data\\", f"ngram 1={len(lines)}", "ngram 2=1", "", "\\1-grams:", *lines]
    path = tmp_path / "lm.arpa"
    tail = ["\\2-grams:", f"-0.1\t{tokens[0]} {tokens[1]}", "\\end\\"]
    path.write_text("\n".join([*head, *tail]))
    assert main([str(folder), str(path), "--weight", "0.3"]) == 0
    assert f"41 + 1 n-grams of {path}, which has 37 of 40 tokens" in capsys.readouterr().out
    fusion = read_fusion(folder, 40)
    assert fusion is not None
    assert (fusion.weight, fusion.ngrams.order) == (0.3, 2)
    assert main([str(folder), str(path), "--order", "1"]) == 0
    capsys.readouterr()
    for others in (["more.txt"], ["--exclude-texts", str(path)]):
        assert main([str(folder), str(path), *others]) == 1
        assert "give it alone" in capsys.readouterr().err

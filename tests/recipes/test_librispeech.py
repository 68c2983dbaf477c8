"""A folder in LibriSpeech's form becomes a manifest that the next step reads."""

import json
from pathlib import Path

import pytest
from speech_data import novel

from echoic.audio.io import save
from echoic.recipes.prepare.librispeech import main


def write_subset(folder: Path, count: int = 3) -> Path:
    chapter = folder / "dev-clean" / "84" / "121123"
    chapter.mkdir(parents=True)
    lines = []
    for number, utterance in enumerate(novel()[:count]):
        name = f"84-121123-{number:04d}"
        save(chapter / f"{name}.flac", utterance.wav[None], 16_000)
        lines.append(f"{name} {utterance.text.upper()}")
    (chapter / "84-121123.trans.txt").write_text("\n".join(lines) + "\n")
    return folder / "dev-clean"


def test_every_utterance_has_its_line(tmp_path: Path, capsys) -> None:
    out = tmp_path / "data" / "dev-clean.jsonl"
    assert main([str(write_subset(tmp_path)), str(out)]) == 0
    assert "3 utterances, 0.0" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"84-121123-000{n}" for n in range(3)]
    for row, utterance in zip(rows, novel(), strict=False):
        assert (out.parent / row["audio"]).is_file()
        assert row["text"] == utterance.text.upper()
        assert (row["speaker"], row["split"], row["lang"]) == ("84", "dev-clean", "en")
        assert row["duration"] == pytest.approx(len(utterance.wav) / 16_000, abs=1e-3)


def test_what_is_missing_is_named_and_the_rest_is_there(tmp_path: Path, capsys) -> None:
    subset, out = write_subset(tmp_path), tmp_path / "out.jsonl"
    chapter = subset / "84" / "121123"
    (chapter / "84-121123-0001.flac").unlink()
    assert main([str(subset), str(out)]) == 1
    assert "84-121123-0001.flac is not there; unpack" in capsys.readouterr().err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["84-121123-0000", "84-121123-0002"]


def test_what_cannot_be_used_writes_nothing(tmp_path: Path, capsys) -> None:
    subset, out = write_subset(tmp_path), tmp_path / "out.jsonl"
    (subset / "84" / "121123" / "84-121123.trans.txt").write_text("84-121123-0000\n")
    assert main([str(subset), str(out)]) == 1
    assert "trans.txt, line 1: expected SPEAKER-CHAPTER-NUMBER TEXT" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), str(out)]) == 1
    assert "no *.trans.txt" in capsys.readouterr().err
    assert not out.exists()

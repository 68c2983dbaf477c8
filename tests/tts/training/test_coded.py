"""Corpora of codes: what was written is read, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from coded_speech import SETTINGS, write_corpus
from small_speech import FORM, frames, text

from echoic.tts.tokens import FrameFormat
from echoic.tts.training.coded import CodedCorpus, CodedWriter


def test_there_and_back(tmp_path: Path) -> None:
    corpus = CodedCorpus(write_corpus(tmp_path / "c", 6))
    assert corpus.settings == SETTINGS
    assert [line.id for line in corpus.lines] == [f"u{n}" for n in range(6)]
    for number, line in enumerate(corpus.lines):
        assert torch.equal(corpus.frames(number), frames(10 + 7 * number, number))
        assert line.ids == text(3 + number % 5, number).tolist()
        assert (line.text, line.speaker) == (f"text {number}", "one")
    assert corpus.seconds()[2] == pytest.approx(24 / 50)
    dev = CodedCorpus(tmp_path / "c", "dev")
    assert [line.id for line in dev.lines] == ["u3"]
    assert torch.equal(dev.frames(0), corpus.frames(3))


def test_books_of_more_than_two_bytes(tmp_path: Path) -> None:
    form = FrameFormat(1, 100_000, 25.0)
    with CodedWriter(tmp_path, replace(SETTINGS, format=form)) as writer:
        writer.add("a", "a", [1], torch.tensor([[99_999], [0]]))
    assert CodedCorpus(tmp_path).frames(0).tolist() == [[99_999], [0]]


def test_a_corpus_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c", 3)
    before = {p.name: p.read_bytes() for p in (tmp_path / "c").iterdir()}
    with (
        pytest.raises(ValueError, match="codes from 12"),
        CodedWriter(tmp_path / "c", SETTINGS) as w,
    ):
        w.add("a", "a", [1], torch.full((2, FORM.num_codebooks), 12))
    assert {p.name: p.read_bytes() for p in (tmp_path / "c").iterdir()} == before


def test_what_cannot_be_added(tmp_path: Path) -> None:
    with CodedWriter(tmp_path, SETTINGS) as writer:
        with pytest.raises(ValueError, match="codes from 12 to 12"):
            writer.add("a", "a", [1], torch.full((2, FORM.num_codebooks), 12))
        with pytest.raises(ValueError, match="a has 0 frames and 1 ids"):
            writer.add("a", "a", [1], frames(0))
    with pytest.raises(ValueError, match="has no utterances to learn from"):
        CodedCorpus(tmp_path)


def test_folders_that_are_none_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no corpus of codes .*echoic prepare coded-speech"):
        CodedCorpus(tmp_path)
    folder = write_corpus(tmp_path / "c", 3)
    with pytest.raises(ValueError, match="no utterances of the split 'test'"):
        CodedCorpus(folder, "test")
    rows = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(rows + "{")
    with pytest.raises(ValueError, match="is damaged"):
        CodedCorpus(folder)
    (folder / "rows.jsonl").write_text(rows.replace('"frames": 24', '"frames": 25'))
    with pytest.raises(ValueError, match="for 52 frames of 4"):
        CodedCorpus(folder)
    settings = json.loads((folder / "corpus.json").read_text())
    for change in ({"version": 9}, {"format": {"books": 1}}, {"more": 1}):
        (folder / "corpus.json").write_text(json.dumps(settings | change))
        with pytest.raises(ValueError, match=r"corpus\.json"):
            CodedCorpus(folder)

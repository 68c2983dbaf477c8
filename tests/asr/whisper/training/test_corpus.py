"""Aligned manifests: what is written is read, and what cannot be read is named."""

import json
from pathlib import Path

import pytest
import torch
from clicking_corpus import clicking_corpus, write_corpus

from echoic.asr.whisper.training.alignment import AlignedText
from echoic.asr.whisper.training.corpus import Utterance, read_corpus


def test_what_is_written_is_read(tmp_path: Path) -> None:
    utterances = clicking_corpus(tmp_path)
    path = write_corpus(tmp_path / "aligned.jsonl", utterances)
    assert read_corpus(path) == utterances
    ids, probs = utterances[0].teacher()
    assert ids.dtype == torch.int64
    assert ids.shape == probs.shape == (len(utterances[0].tokens), 3)
    wav = utterances[0].load(tmp_path)
    assert wav.dim() == 1
    assert len(wav) / 16_000 == pytest.approx(utterances[0].duration, abs=1e-3)


def test_an_aligned_text_becomes_a_line() -> None:
    aligned = AlignedText(
        tokens=(5, 6),
        starts=(0.12345, 0.5),
        ends=(0.5, 0.98765),
        word_of=(0, 1),
        teacher_ids=torch.tensor([[5, 1], [6, 2]]),
        teacher_probs=torch.tensor([[0.91234567, 0.05], [0.5, 0.25]]),
        avg_logprob=-0.3,
    )
    found = Utterance.of("a.opus", 1.00049, "hi there", "ann", aligned)
    assert found.starts == (0.123, 0.5)
    assert found.ends == (0.5, 0.988)
    assert found.duration == 1.0
    assert found.teacher_probs == ((0.9123, 0.05), (0.5, 0.25))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda row: '{"audio": "a.w"', "Expecting"),
        (lambda row: "[1, 2]", "list indices"),
        (lambda row: "7", "subscriptable"),
        (lambda row: json.dumps({**row, "colour": 1}), "colour"),
        (lambda row: json.dumps({k: v for k, v in row.items() if k != "ends"}), "ends"),
        (lambda row: json.dumps({**row, "ends": row["ends"][1:]}), "one entry for every token"),
        (lambda row: json.dumps({**row, "tokens": 5}), "not iterable"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, spoil, reason: str) -> None:
    path = write_corpus(tmp_path / "aligned.jsonl", clicking_corpus(tmp_path, 2))
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]}\n\n{spoil(json.loads(lines[1]))}\n")
    with pytest.raises(ValueError, match=reason) as error:
        read_corpus(path)
    assert str(error.value).startswith(f"{path}, line 3: not an aligned utterance")


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_corpus(tmp_path / "none.jsonl")

"""What a unified model learns from, read from files: what is wrong with them is told by line."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from coded_speech import SETTINGS, write_corpus
from small_unified import CODES, frames

from echoic.tts.training.coded import CodedCorpus
from echoic.tts.unified.sequences import Segment, Sequencer
from echoic.tts.unified.text_ids import ByteText
from echoic.tts.unified.training.data import UnifiedData
from echoic.tts.unified.training.example_file import Pair, read_examples, write_examples
from echoic.tts.unified.training.sources import MixSource, Speech, Texts, open_part
from echoic.tts.unified.vocabulary import UnifiedVocabulary

EXAMPLE = [Segment("Grüße"), Segment(frames(2, 0), True), Segment("and"), Segment("so", True)]
PAIR = Pair(
    [Segment("a"), Segment("b", True), Segment(frames(1, 3))],
    [Segment(frames(3, 1), True)],
    [Segment("no", True), Segment(frames(2, 2), True)],
)


def same(one: list[Segment], other: list[Segment]) -> bool:
    def plain(segments: list[Segment]) -> list[Any]:
        parts = ((s.content, s.answer) for s in segments)
        return [(c if isinstance(c, str) else c.tolist(), answer) for c, answer in parts]

    return plain(one) == plain(other)


def test_examples_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    assert write_examples(path, CODES, [EXAMPLE, PAIR], ["one"]) == 2
    found = read_examples(path)
    assert found.codes == CODES
    assert len(found.examples) == len(found.pairs) == 1
    assert same(found.examples[0], EXAMPLE)
    assert all(same(*both) for both in zip(found.pairs[0], PAIR, strict=True))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1]["id"] == "one"
    assert "id" not in lines[2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no example"),
        ("[]", "line 2: no example"),
        ('{"given": []}', "line 2: no example"),
        ('{"segments": []}', r"line 2: no example \(no segments\)"),
        ('{"segments": [{"text": ""}]}', "a segment is empty"),
        ('{"segments": [{"text": "a", "codes": [[1, 2]]}]}', "text or codes, one of the two"),
        ('{"segments": [{"codes": [[1, 8]]}]}', "codes from 1 to 8"),
        ('{"segments": [{"text": 5}]}', "text is 5"),
        ('{"given": [{"text": "a"}], "chosen": [{"text": "b"}]}', "no 'rejected'"),
    ],
)
def test_lines_that_are_no_examples(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(asdict(CODES)) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=message):
        read_examples(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_examples(tmp_path / "e.jsonl")
    (tmp_path / "e.jsonl").write_text('{"segments": []}\n')
    with pytest.raises(ValueError, match="line 1: expected the format"):
        read_examples(tmp_path / "e.jsonl")
    write_examples(tmp_path / "e.jsonl", CODES, [PAIR])
    with pytest.raises(ValueError, match="has no examples to learn from"):
        open_part(MixSource("examples", str(tmp_path / "e.jsonl")))
    (tmp_path / "t.jsonl").write_text('{"words": "a"}\n')
    with pytest.raises(ValueError, match="cannot be read as texts"):
        Texts(tmp_path / "t.jsonl")
    (tmp_path / "t.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="has no text to learn from"):
        Texts(tmp_path / "t.txt")
    with pytest.raises(ValueError, match="task is 'sing'"):
        MixSource("sing", "x")  # pyright: ignore[reportArgumentType]


def test_lengths_are_those_of_the_documents(tmp_path: Path) -> None:
    corpus = CodedCorpus(write_corpus(tmp_path / "c", 4))
    sequencer = Sequencer(UnifiedVocabulary(256, SETTINGS.format), ByteText())
    (tmp_path / "t.jsonl").write_text('{"text": "one"}\n{"text": "zwölf"}\n')
    small = Sequencer(UnifiedVocabulary(256, CODES.format), ByteText())
    write_examples(tmp_path / "e.jsonl", CODES, [EXAMPLE, EXAMPLE[:1]])
    turns = open_part(MixSource("examples", str(tmp_path / "e.jsonl")))
    parts = [(Speech(corpus, kind), sequencer) for kind in ("audio", "speak", "write")]
    for part, own in [*parts, (Texts(tmp_path / "t.jsonl"), sequencer), (turns, small)]:
        found = [len(own.document(part.segments(i)).ids) for i in range(len(part))]
        assert part.lengths(own) == found


def test_directions(tmp_path: Path) -> None:
    corpus = CodedCorpus(write_corpus(tmp_path / "c", 2))
    speak, write = (Speech(corpus, kind).segments(1) for kind in ("speak", "write"))
    assert [(s.kind, s.answer) for s in speak] == [("text", False), ("audio", True)]
    assert [(s.kind, s.answer) for s in write] == [("audio", False), ("text", True)]
    assert speak[0].content == write[1].content == "text 1"
    assert torch.equal(torch.as_tensor(write[0].content), corpus.frames(1))


def test_data_that_do_not_belong_together(tmp_path: Path) -> None:
    one = write_corpus(tmp_path / "a", 2)
    other = write_corpus(tmp_path / "b", 2, replace(SETTINGS, codec_hash="sha256:1"))
    (tmp_path / "t.txt").write_text("text\n")
    both = [MixSource("speak", str(one)), MixSource("audio", str(other))]
    with pytest.raises(ValueError, match="are of different codecs"):
        UnifiedData(both).check()
    with pytest.raises(ValueError, match="nothing here has codes"):
        UnifiedData([MixSource("text", str(tmp_path / "t.txt"))]).check()
    with pytest.raises(ValueError, match="train is empty"):
        UnifiedData([])

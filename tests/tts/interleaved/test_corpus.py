"""Interleaved corpora: the same however they were made, and readable by what learns from them."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_talker import small_talker
from spelled_codes import Spelling, spelled

from echoic.tts.errors import TtsError
from echoic.tts.interleaved.corpus import Builder, interleave
from echoic.tts.interleaved.documents import BadLine, TextDocument, read_documents
from echoic.tts.interleaved.spans import SpanSettings, words_of
from echoic.tts.interleaved.speaker import TalkerCodes
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.lm.utterance import Request
from echoic.tts.talker import Talker
from echoic.tts.unified.training.example_file import read_examples
from echoic.tts.unified.training.sources import MixSource, open_part

SETTINGS = SpanSettings(0.3, 3.0)


def documents(count: int, words: int = 40) -> list[TextDocument]:
    rng = random.Random(0)
    made = []
    for number in range(count):
        some = ["".join(rng.choices("abcdefg", k=rng.randint(1, 6))) for _ in range(words)]
        made.append(TextDocument(f"d{number}", " ".join(some)))
    return made


def built(out: Path, docs: list[Any], speaker: Any = None, settings: Any = SETTINGS) -> Builder:
    builder = Builder(out, Spelling() if speaker is None else speaker, settings)
    list(builder.build(docs))
    return builder


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_segments_are_the_document(tmp_path: Path) -> None:
    docs = documents(6)
    totals = built(tmp_path / "out.jsonl", docs).totals
    rows = rows_of(tmp_path / "out.jsonl")
    for document, row in zip(docs, rows, strict=True):
        parts = [part.get("text") or spelled(part["codes"]) for part in row["segments"]]
        assert "".join(parts) == document.text
        kinds = ["text" in part for part in row["segments"]]
        assert all(a != b for a, b in itertools.pairwise(kinds))
        assert row["said"] == [spelled(p["codes"]) for p in row["segments"] if "codes" in p]
        assert row["spans"] == [len(words_of(text)) for text in row["said"]]
        assert sum(row["spans"]) == 12
        # Each span is spoken with a seed of its own.
        seeds = {part["codes"][0][1] for part in row["segments"] if "codes" in part}
        assert len(seeds) == len(row["said"])
    assert totals[:3] == (6, 240, 72)
    assert totals.frames == sum(len(text) for row in rows for text in row["said"])
    assert (totals.unspoken, totals.kept) == (0, 0)


def test_a_unified_model_reads_it(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    docs = documents(3)
    built(out, docs)
    found = read_examples(out)
    assert found.codes == Spelling.codes
    part = open_part(MixSource("examples", str(out)))
    assert len(part) == 3
    for number, document in enumerate(docs):
        segments = part.segments(number)
        assert all(segment.answer for segment in segments)
        texts = [s.content if isinstance(s.content, str) else spelled(s.content.tolist())
                 for s in segments]  # fmt: skip
        assert "".join(texts) == document.text


def test_neither_order_nor_company_changes_a_document(tmp_path: Path) -> None:
    docs = documents(8)
    built(tmp_path / "a.jsonl", docs)
    built(tmp_path / "b.jsonl", docs[::-1])
    for part in range(3):
        built(tmp_path / f"c{part}.jsonl", docs[part::3])
    whole = rows_of(tmp_path / "a.jsonl")
    assert rows_of(tmp_path / "b.jsonl") == whole[::-1]
    shared = [row for part in range(3) for row in rows_of(tmp_path / f"c{part}.jsonl")]
    assert sorted(shared, key=lambda row: row["id"]) == whole
    built(tmp_path / "d.jsonl", docs, settings=SpanSettings(0.3, 3.0, seed=1))
    assert all(a != b for a, b in zip(rows_of(tmp_path / "d.jsonl"), whole, strict=True))


class Killed(Exception):
    """As if the process had ended."""


class Mortal(Spelling):
    """A voice that does not live long."""

    def speak(self, texts: Any, seeds: Any) -> Any:
        if self.asked == 3:
            raise Killed
        return super().speak(texts, seeds)


@pytest.mark.parametrize("torn", [0, 7, 10_000])
def test_what_was_made_before_a_kill_is_kept(tmp_path: Path, torn: int) -> None:
    docs, out, whole = documents(6), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    built(whole, docs)
    with pytest.raises(Killed):
        built(out, docs, Mortal())
    growing = tmp_path / "out.jsonl.part"
    assert not out.exists()
    data = growing.read_bytes()
    growing.write_bytes(data[: max(0, len(data) - torn)])
    speaker = Spelling()
    totals = built(out, docs, speaker).totals
    assert (totals.kept, speaker.asked) == {0: (3, 3), 7: (2, 4), 10_000: (0, 6)}[torn]
    assert out.read_bytes() == whole.read_bytes()
    assert not growing.exists()


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    docs, out = documents(6), tmp_path / "out.jsonl"
    with pytest.raises(Killed):
        built(out, docs, Mortal())
    for wrong in (SpanSettings(0.4, 3.0), SpanSettings(0.3, 3.0, seed=5)):
        with pytest.raises(ValueError, match="of another model or of other settings"):
            built(out, docs, settings=wrong)
    other = Spelling()
    other.print = "another"
    with pytest.raises(ValueError, match="of another model or of other settings"):
        built(out, docs, other)
    for texts in (docs[::-1], docs[:2]):
        with pytest.raises(ValueError, match="is of other texts"):
            built(out, texts)
    growing = tmp_path / "out.jsonl.part"
    first, _, *rest = growing.read_text().splitlines(keepends=True)
    growing.write_text(first + "{no json\n" + "".join(rest))
    with pytest.raises(ValueError, match="is damaged: begin anew with --overwrite"):
        built(out, docs)
    assert not out.exists()


def test_what_cannot_be_spoken_stays_text() -> None:
    words = ["w#" if number % 3 == 0 else f"w{number}" for number in range(60)]
    document = TextDocument("a", " ".join(words))
    row = interleave(document, Spelling(), SpanSettings(0.5, 2.0))
    assert row["unspoken"] > 0
    assert len(row["said"]) > 0
    assert not any("#" in text for text in row["said"])
    parts = [part.get("text") or spelled(part["codes"]) for part in row["segments"]]
    assert "".join(parts) == document.text
    kinds = ["text" in part for part in row["segments"]]
    assert all(a != b for a, b in itertools.pairwise(kinds))


def test_short_documents_stay_text(tmp_path: Path) -> None:
    row = interleave(TextDocument("a", "Yes."), Spelling(), SETTINGS)
    assert row["segments"] == [{"text": "Yes.", "answer": True}]
    with pytest.raises(ValueError, match="not one document"):
        built(tmp_path / "out.jsonl", [])
    assert not list(tmp_path.iterdir())


def test_lines_that_are_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    lines = [
        b'{"text": " one two ", "id": 7}', b"", b"nothing", b'{"words": "a"}', b"[1]",
        b'{"text": 3}', b'{"text": "  "}', b'{"text": "caf\xe9"}', b'{"text": "one two"}',
    ]  # fmt: skip
    path.write_bytes(b"\n".join(lines))
    found = list(read_documents(path))
    assert found[0] == TextDocument("7", "one two")
    assert isinstance(found[-1], TextDocument)
    assert len(found[-1].key) == 16
    bad = [one for one in found if isinstance(one, BadLine)]
    assert [one.number for one in bad] == [3, 4, 5, 6, 7, 8]
    problems = ("Expecting", "no 'text'", "a list", "text is 3", "its text is empty", "utf-8")
    for one, problem in zip(bad, problems, strict=True):
        assert problem in one.problem
    plain = tmp_path / "texts.txt"
    plain.write_text("one\n\n two \nthree\nfour\n")
    parts = [list(read_documents(plain, part, 2)) for part in range(2)]
    # Lines are dealt, the empty one among them.
    assert [[d.text for d in own if isinstance(d, TextDocument)] for own in parts] == [
        ["one", "two", "four"],
        ["three"],
    ]


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> TalkerCodes:
    folder = tmp_path_factory.mktemp("talker")
    talker = small_talker()
    # All codes are as likely, the end among them: some speech ends by itself, some is cut.
    settings = replace(
        talker.settings,
        sampling=SamplingConfig(1000.0, 0, 1.0),
        bounds=Bounds(shortest=0.01, longest=0.02, least=0.5),
    )
    Talker(talker.model, talker.codec, talker.alphabet, settings).save_pretrained(folder)
    for path in (folder / "codec").iterdir():
        path.unlink()  # nobody is to decode
    return TalkerCodes.from_pretrained(folder)


def test_a_talker_writes_codes_of_text_alone(speaker: TalkerCodes) -> None:
    talker = small_talker()
    assert speaker.codes.format == talker.model.config.frames
    assert speaker.codes.codec_hash == talker.settings.codec_hash
    texts = [f"Word number {n} of them." for n in range(12)]
    found = speaker.speak(texts, range(12))
    some = [frames for frames in found if frames is not None]
    # Others did not end by themselves.
    assert 2 < len(some) < len(texts)
    for frames in some:
        speaker.codes.format.check(frames)
    again = speaker.speak(texts[::-1], range(12)[::-1])[::-1]
    for a, b in zip(found, again, strict=True):
        assert (a is None) == (b is None)
        assert a is None or (b is not None and torch.equal(a, b))
    number = next(n for n, frames in enumerate(found) if frames is not None)
    (request,) = speaker._requests(texts[number], number)
    assert isinstance(request, Request)
    generation, frames = Generation(talker.model, [request]), []
    while not generation.done:
        frames += generation.step()
    assert torch.equal(torch.cat(frames), some[0])


def test_a_text_of_sentences_is_spoken_in_one(speaker: TalkerCodes) -> None:
    texts = "Yes. No."
    for seed in range(20):
        whole = speaker.speak([texts], [seed])[0]
        requests = speaker._requests(texts, seed)
        assert len(requests) == 2
        parts = [speaker._spoken([request])[0] for request in requests]
        if whole is None:
            assert any(part is None for part in parts)
            continue
        assert torch.equal(whole, torch.cat([part for part in parts if part is not None]))
        return
    pytest.fail("not one of 20 seeds ends")


def test_text_without_words_is_not_spoken(speaker: TalkerCodes) -> None:
    assert speaker.speak(["...", ""], [0, 1]) == [None, None]


def test_models_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TtsError, match="no talker"):
        TalkerCodes.from_pretrained(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text('{"model": "speech-lm"}')
    with pytest.raises(TtsError, match="has no section 'talker': it is no talker"):
        TalkerCodes.from_pretrained(tmp_path)

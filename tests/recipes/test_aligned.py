"""Aligning a manifest: real sentences end to end, stopped and resumed, and transcripts mended."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from grids import write_grid
from speech_data import DATA, novel, tiny_en

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.asr.whisper.training.corpus import Utterance, read_corpus
from echoic.recipes.prepare import aligned
from echoic.recipes.prepare.aligned import clean, main

MANIFEST = DATA / "manifest.jsonl"


@pytest.fixture(autouse=True)
def _one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligned.WhisperModel, "from_pretrained", lambda _: tiny_en())


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["aligned", *map(str, arguments)])
    main()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("aligned") / "deep" / "aligned.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aligned.WhisperModel, "from_pretrained", lambda _: tiny_en())
        run(patch, MANIFEST, out)
    return out


def test_real_sentences_are_aligned(corpus: Path) -> None:
    utterances = read_corpus(corpus)
    assert [u.audio.rpartition("/")[2] for u in utterances] == [u.path.name for u in novel()]
    for utterance, known in zip(utterances, novel(), strict=True):
        assert torch.equal(utterance.load(corpus.parent), known.wav)
        check(utterance, known.text)


def check(utterance: Utterance, text: str) -> None:
    tokenizer = tiny_en().tokenizer
    assert tokenizer.decode(utterance.tokens).strip() == utterance.text
    assert word_error_rate([text], [utterance.text], for_language("en")).rate == 0
    # The teacher's spelling: sentences begin with capitals, and some have marks.
    assert utterance.text[0].isupper()
    assert list(utterance.ends) == sorted(utterance.ends)
    assert all(a <= b for a, b in zip(utterance.starts, utterance.ends, strict=True))
    assert 0 <= utterance.starts[0] < 1
    assert utterance.duration - 1.5 < utterance.ends[-1] <= utterance.duration + 0.05
    words = len(text.split())
    assert abs(utterance.word_of[-1] + 1 - words) <= 1
    ids, probs = utterance.teacher()
    assert ids.shape == (len(utterance.tokens), 8)
    assert float(probs.sum(-1).max()) <= 1.001
    sure = (ids[:, 0] == torch.tensor(utterance.tokens)).float().mean()
    assert float(sure) > 0.7


def test_words_are_heard_as_fast_as_people_speak(corpus: Path) -> None:
    for utterance in read_corpus(corpus):
        ends = dict(zip(utterance.word_of, utterance.ends, strict=True))
        starts = dict(zip(reversed(utterance.word_of), reversed(utterance.starts), strict=True))
        lengths = sorted(ends[word] - starts[word] for word in ends)
        assert 0.1 < lengths[len(lengths) // 2] < 0.5
        assert lengths[-1] < 1.6


def test_what_is_there_is_kept_and_what_was_cut_off_is_made_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    whole = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    out = corpus.parent / "resumed.jsonl"
    calls: list[str] = []
    make = aligned._Maker.make

    def counted(self, path, audio, row):
        calls.append(path.name)
        return make(self, path, audio, row)

    monkeypatch.setattr(aligned._Maker, "make", counted)
    for left in (whole[3][: len(whole[3]) // 2], whole[3].rstrip("\n"), ""):
        out.write_text("".join(whole[:3]) + left, encoding="utf-8")
        calls.clear()
        run(monkeypatch, MANIFEST, out)
        assert calls == [u.path.name for u in novel()[3:]]
        assert out.read_text(encoding="utf-8") == "".join(whole)
        told = capsys.readouterr().err
        assert ("its last line was cut off and is made again" in told) == bool(left)
        assert "5 utterances, 0 left out" in told
    out.unlink()


def test_a_broken_line_inside_is_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = corpus.parent / "broken.jsonl"
    out.write_text('{"audio": 1}\n')
    with pytest.raises(SystemExit, match=r"broken\.jsonl, line 1: not an aligned utterance"):
        run(monkeypatch, MANIFEST, out)
    out.unlink()


def write(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_which_rows_and_which_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    audio = str(novel()[1].path)
    rows = [
        {"audio": audio, "text": "He was not an ill-disposed young man...", "split": "train"},
        {"audio": audio, "text": "something else entirely", "split": "dev"},
        {"audio": str(tmp_path / "missing.wav"), "text": "hello", "split": "train"},
        {"audio": str(novel()[4].path), "text": "word " * 460, "split": "train"},
        {"audio": str(novel()[4].path), "split": "train"},
    ]
    manifest = write(tmp_path / "rows.jsonl", *rows)
    out = tmp_path / "out.jsonl"
    run(monkeypatch, manifest, out, "--labels", "transcript", "--where", "split=train")
    (only,) = read_corpus(out)
    assert only.text == "He was not an ill-disposed young man."
    told = capsys.readouterr().err
    assert "missing.wav" in told
    assert "the text has" in told
    assert "1 utterances, 3 left out" in told
    # What nobody says there is not believed.
    run(monkeypatch, manifest, tmp_path / "dev.jsonl", "--labels", "transcript", "--where",
        "split=dev")  # fmt: skip
    assert read_corpus(tmp_path / "dev.jsonl") == []


def test_a_teacher_labels_what_has_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write(tmp_path / "rows.jsonl", {"audio": str(novel()[4].path)})
    run(monkeypatch, manifest, tmp_path / "out.jsonl", "--labels", "teacher")
    (only,) = read_corpus(tmp_path / "out.jsonl")
    heard = Transcriber(tiny_en()).transcribe(novel()[4].wav, sample_rate=16_000).text
    assert only.text == heard.strip()


def test_times_of_a_forced_aligner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    first, second = novel()[3], novel()[4]
    words = first.text.split()
    spans = [(0.25 * n, 0.25 * n + 0.25, word) for n, word in enumerate(words)]
    grids = tmp_path / "grids"
    grids.mkdir()
    write_grid(grids / f"{first.path.stem}.TextGrid", spans)
    rows = [{"audio": str(u.path), "text": u.text} for u in (first, second)]
    manifest = write(tmp_path / "rows.jsonl", *rows)
    out = tmp_path / "out.jsonl"
    run(monkeypatch, manifest, out, "--labels", "transcript", "--textgrids", grids)
    forced, attended = read_corpus(out)
    assert forced.ends[-1] == pytest.approx(0.25 * len(words), abs=1e-3)
    assert attended.ends[-1] > 1
    assert "of 1 utterances by TextGrid, of 1 by cross-attention" in capsys.readouterr().err
    run_into = tmp_path / "none.jsonl"
    with pytest.raises(SystemExit, match="no TextGrid"):
        run(monkeypatch, manifest, run_into, "--textgrids", tmp_path / "empty")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl", "out.jsonl"], "nowhere.jsonl"),
        (["bad.jsonl", "out.jsonl"], "line 2 is no JSON object with a field audio"),
        (["bad.jsonl", "out.jsonl", "--where", "split"], "2"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text('{"audio": "a.wav"}\n[]\n')
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert message in str(stopped.value)
    assert "'split' is not FIELD=VALUE" in capsys.readouterr().err or "--where" not in arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("hello there", "Hello there"),
        ("...but I'm TOO BUSY", "But I'm too busy"),
        ("Wait... what?", "Wait, what?"),
        ("Well…", "Well."),
        ("I'LL go - now", "I'll go, now"),
        ("*sighs* Fine", "Sighs Fine"),
        ("  two   spaces ", "Two spaces"),
        ("A I O", "A I O"),
        ("I AM", "I am"),
        ("well-known", "Well-known"),
        ("It's 5 O'CLOCK.", "It's 5 o'clock."),
        ("...", ""),
    ],
)
def test_transcripts_are_cleaned(text: str, expected: str) -> None:
    assert clean(text) == expected
    assert clean(clean(text)) == clean(text)

"""`echoic prepare pseudo-labels`: what is heard, what is believed, and what a stop leaves."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_transcriber import FakeTranscriber, transcript_of
from typer.testing import CliRunner

from echoic.asr.source import Source
from echoic.asr.transcript import Transcript
from echoic.recipes.cli import build_app
from echoic.recipes.prepare.confidence import REASONS, Bounds, Heard
from echoic.recipes.prepare.pseudo_labels import Job, label, main, summary

SURE = {"text": "hola que tal", "logprob": -0.1, "silence": 0.01, "seconds": 1.2}


class Scripted(FakeTranscriber):
    """Hears what the JSON in a file says of it."""

    def _hear(self, source: Source) -> Transcript:
        told: dict[str, Any] = json.loads(Path(source.path).read_text())
        if "error" in told:
            raise ValueError(told["error"])
        plain = transcript_of(told["text"])
        segments = tuple(
            replace(s, avg_logprob=told["logprob"], no_speech_prob=told["silence"])
            for s in plain.segments
            if told["text"]
        )
        return replace(plain, segments=segments, duration=told["seconds"])


RECORDINGS: dict[str, dict[str, Any]] = {
    "sure": SURE,
    "doubtful": {**SURE, "logprob": -1.2},
    "silent": {**SURE, "silence": 0.9},
    "nothing": {**SURE, "text": ""},
    "marks": {**SURE, "text": "..."},
    "loop": {**SURE, "text": "y luego " * 30, "seconds": 20.0},
    "fast": {**SURE, "text": "hola que tal " * 3, "seconds": 0.5},
    "slow": {**SURE, "seconds": 20.0},
    "broken": {"error": "broken: is not sound; convert it"},
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for name, told in RECORDINGS.items():
        (tmp_path / f"{name}.wav").write_text(json.dumps(told))
        rows.append({"audio": f"{name}.wav", "id": name, "speaker": "a"})
    (tmp_path / "sure.wav").write_text(json.dumps(SURE))
    rows += [
        {"audio": "sure.wav", "id": "long", "duration": 31.0},
        {"audio": "sure.wav", "id": "told", "text": "Hola.", "lang": "es"},
        {"audio": "sure.wav", "id": "french", "lang": "fr"},
        {"audio": "sure.wav", "id": "dev", "lang": "es", "split": "dev", "duration": 1.5},
    ]
    path = tmp_path / "unlabelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def job(manifest: Path, **changes: Any) -> Job:
    return replace(Job(manifest, manifest.parent / "out" / "es.jsonl", "small", "es"), **changes)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def no_teacher() -> Any:
    raise AssertionError("there is nothing to hear")


def test_what_is_believed_is_written_and_the_rest_told_by_reason(manifest: Path) -> None:
    teacher = Scripted()
    asked = job(manifest)
    outcome = label(asked, lambda: teacher)
    kept = lines(asked.out)
    assert [row["id"] for row in kept] == ["sure", "dev"]
    assert kept[0] == {
        "audio": "../sure.wav", "id": "sure", "speaker": "a", "duration": 1.2,
        "text": "hola que tal", "lang": "es", "confidence": round(math.exp(-0.1), 4),
        "teacher": "small",
    }  # fmt: skip
    assert kept[1]["duration"] == 1.5
    assert (outcome.kept, outcome.seconds) == (2, pytest.approx(2.7))
    expected = {
        "doubtful": "not sure", "silent": "silence", "nothing": "nothing heard",
        "marks": "nothing heard", "loop": "repeats itself", "fast": "too fast",
        "slow": "too slow", "broken": "cannot be read", "long": "too long",
    }  # fmt: skip
    dropped = {line["key"].partition("@")[0]: line["reason"] for line in lines(asked.dropped_file)}
    assert dropped == expected
    assert set(expected.values()) == set(REASONS)
    assert outcome.dropped["nothing heard"] == 2
    assert outcome.bad == ["broken: is not sound; convert it"]
    assert "told@0" not in teacher.heard
    assert "french@0" not in teacher.heard
    assert "long@0" not in teacher.heard
    (options,) = teacher.options
    assert (options.language, options.temperatures, options.timestamps) == ("es", (0.0,), False)
    told = list(summary(asked, outcome))
    assert told[0] == f"{asked.out}: 2 rows, 0.00 hours"
    assert "  left out, nothing heard: 2" in told
    assert str(asked.dropped_file) in told[-1]


def test_another_bound_needs_no_hearing_again(manifest: Path) -> None:
    (manifest.parent / "broken.wav").write_text(json.dumps(SURE))
    label(job(manifest), Scripted)
    lower = job(manifest, bounds=Bounds(confidence=0.2, slowest=0.1))
    assert label(lower, no_teacher).kept == 5
    assert {row["id"] for row in lines(lower.out)} == {"sure", "broken", "doubtful", "slow", "dev"}


def test_a_run_that_was_stopped_goes_on(manifest: Path) -> None:
    asked, teacher = job(manifest), Scripted()

    def stop(source: Source) -> None:
        if len(teacher.heard) == 5:
            raise KeyboardInterrupt

    teacher.before = stop
    with pytest.raises(KeyboardInterrupt):
        label(asked, lambda: teacher)
    there = lines(asked.heard_file)[1:]
    assert len(there) == 4
    with asked.heard_file.open("a") as file:
        file.write('{"key": "sl')  # cut off in the middle of a line
    again = Scripted()
    outcome = label(asked, lambda: again)
    assert not {line["key"] for line in there} & set(again.heard)
    assert outcome.kept == 2
    # What cannot be read is tried once more, and nothing else.
    third = Scripted()
    assert label(asked, lambda: third) == outcome
    assert third.heard == ["broken@0"]


def test_what_another_teacher_heard_is_not_mixed_in(manifest: Path) -> None:
    label(job(manifest), Scripted)
    for changed in ({"teacher": "large"}, {"beam_size": 5}):
        with pytest.raises(ValueError, match=r"is what small heard, .*; remove it"):
            label(job(manifest, **changed), no_teacher)
    job(manifest).heard_file.write_text("no JSON\n")
    with pytest.raises(ValueError, match="is damaged; remove it"):
        label(job(manifest), no_teacher)


def test_rows_are_chosen(manifest: Path, tmp_path: Path) -> None:
    only = job(manifest, split="dev", out=tmp_path / "dev.jsonl")
    assert label(only, Scripted).kept == 1
    every = job(manifest, relabel=True, out=tmp_path / "all.jsonl")
    label(every, Scripted)
    assert {row["id"]: row["text"] for row in lines(every.out)}["told"] == "hola que tal"
    with pytest.raises(ValueError, match="has no rows of it without text"):
        label(job(only.out, language="it", out=tmp_path / "it.jsonl"), no_teacher)
    with pytest.raises(ValueError, match="is the manifest itself"):
        label(job(manifest, out=manifest), no_teacher)


def test_confidence_is_the_mean_over_tokens() -> None:
    one, two = transcript_of("a", "bcd").segments
    parts = (
        replace(one, tokens=(1,), avg_logprob=-1.0, no_speech_prob=0.3),
        replace(two, tokens=(1, 2, 3), avg_logprob=-0.2),
    )
    heard = Heard.of(Transcript("es", 1.0, 4.0, parts))
    assert heard.confidence == pytest.approx(math.exp(-1.6 / 4), abs=1e-4)
    assert (heard.text, heard.no_speech, heard.seconds) == ("a bcd", 0.3, 4.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": 1.5}, "confidence is 1.5"),
        ({"slowest": 30.0}, "characters a second are 30.0 to 30.0"),
        ({"seconds": 31.0}, "seconds 31.0"),
    ],
)
def test_bounds_that_cannot_be_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bounds(**changes)


def test_the_command(
    manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "echoic.asr.transcriber.Transcriber.from_pretrained", lambda *_, **__: Scripted()
    )
    out = manifest.parent / "es.jsonl"
    words = [str(manifest), str(out), "--lang", "Spanish", "--model", "small"]
    assert main([*words, "--characters-per-second", "0.1:20"]) == 1  # one cannot be read
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: 3 rows")
    assert printed.err == "pseudo-labels: broken: is not sound; convert it\n"
    assert main([*words[:2], "--lang", "xx", "--model", "small"]) == 1
    assert "xx" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([*words, "--characters-per-second", "fast"])
    assert stop.value.code == 2
    line = ["prepare", "pseudo-labels", *words, "--overwrite", "--min-confidence", "2"]
    done = CliRunner().invoke(build_app(line), line)
    assert done.exit_code == 1
    assert "confidence is 2.0, expected 0 to 1" in done.stderr

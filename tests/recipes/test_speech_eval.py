"""Talkers that are judged by what is heard: what counts, what is compared, what fails alone."""

import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from rich.console import Console
from small_talker import small_talker
from torch import Tensor

from echoic.asr.text.normalizers import english
from echoic.audio.io import load
from echoic.audio.write import save
from echoic.codecs.jobs.errors import UsageError
from echoic.codecs.metrics.scorers import Found, Kind, Scorer, find_scorers
from echoic.recipes.speech_eval.measuring import Judge, speak
from echoic.recipes.speech_eval.report import Report, Row, Settings, Take, Version
from echoic.recipes.speech_eval.sentences import Failure, Recording, Sentence, read_sentences
from echoic.recipes.speech_eval.speakers import SPEAKER
from echoic.recipes.speech_eval.tables import notes, tables
from echoic.tts.synthesizer import AudioChunk, Synthesizer
from echoic.tts.synthesizer import Sentence as Said
from echoic.tts.text.phonemes import G2PError

RATE = 16_000
NOTHING = Found([], {})


def noise(folder: Path, name: str = "noise.wav", seconds: float = 0.5) -> Path:
    generator = torch.Generator().manual_seed(3)
    save(folder / name, 0.1 * torch.randn(1, int(RATE * seconds), generator=generator), RATE)
    return folder / name


def deaf(wav: Tensor, rate: int) -> str:
    return ""


class Slow:
    """A pause, then after 50 ms a first sound, and after 50 ms more a second one."""

    sample_rate = RATE

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stream(self, text: str, *, said: list[Said], **rest: Any) -> Iterator[AudioChunk]:
        self.asked.append(text)
        yield AudioChunk(torch.zeros(800), 0.0, -1)
        for _ in range(2):
            time.sleep(0.05)
            yield AudioChunk(torch.ones(160), 0.05, 0)
        said.append(Said(text, 0.0, 0.07, "loop"))


def as_synthesizer(slow: Slow) -> Synthesizer:
    return cast(Synthesizer, slow)


def test_the_clock_stops_at_the_first_sound_and_not_at_a_pause() -> None:
    spoken = speak(as_synthesizer(Slow()), "One.", None, 0)
    assert spoken.first_audio >= 0.05
    assert spoken.compute - spoken.first_audio >= 0.05
    assert len(spoken.wav) == 800 + 2 * 160
    assert spoken.endings == ("loop",)


def test_what_has_no_phonemes_is_an_error_with_a_message_for_users() -> None:
    class Mute(Slow):
        def stream(self, text: str, *, said: list[Said], **_: Any) -> Iterator[AudioChunk]:
            raise G2PError("'x' has no phonemes")

    with pytest.raises(ValueError, match="'x' has no phonemes"):
        speak(as_synthesizer(Mute()), "x", None, 0)


def test_the_first_sentence_warms_up_unmeasured() -> None:
    slow = Slow()
    entries = [Sentence(f"line {n}", n, text) for n, text in enumerate(("One.", "Two."), 1)]
    rows, failures = Judge(as_synthesizer(slow), deaf, NOTHING).judge(entries)
    assert slow.asked == ["One.", "One.", "Two."]
    assert [row.text for row in rows] == ["One.", "Two."]
    assert failures == []


def test_what_is_heard_is_what_is_said() -> None:
    kept: dict[tuple[int, Version], Tensor] = {}
    heard: list[Tensor] = []

    def hear(wav: Tensor, rate: int) -> str:
        heard.append(wav)
        assert rate == RATE
        return "the first"

    judge = Judge(Synthesizer(small_talker()), hear, NOTHING, seed=4)
    entries = [Sentence("a.txt, line 7", 7, "The first."), Sentence("a.txt, line 8", 8, "And two.")]
    rows, failures = judge.judge(entries, keep=lambda s, v, wav: kept.update({(s.number, v): wav}))
    assert failures == []
    expected = Synthesizer(small_talker()).speak("And two.", seed=4)
    assert torch.equal(kept[8, "talker"], expected.wav)
    assert torch.equal(heard[1], expected.wav)
    assert set(kept) == {(7, "talker"), (8, "talker")}
    assert rows[1].endings == tuple(s.ending for s in expected.sentences)
    assert rows[1].takes["talker"].seconds == len(expected.wav) / RATE
    assert 0 < rows[1].first_audio <= rows[1].compute


def test_recordings_are_heard_themselves_and_through_the_codec(tmp_path: Path) -> None:
    kept: dict[Version, Tensor] = {}
    loud = Kind("loud", "loudness", "none", "", lambda: lambda _, y: float(np.abs(y).mean()), True)
    apart = Kind(
        "apart", "distance", "none", "", lambda: lambda x, y: float(len(x) - len(y)), False
    )
    found = Found([Scorer(loud, RATE), Scorer(apart, RATE)], {})
    judge = Judge(Synthesizer(small_talker()), lambda wav, _: f"heard {len(wav)}", found)
    sentence = Sentence("m", 1, "Hello.", Recording(str(noise(tmp_path)), 0.1, 0.2))
    (row,), failures = judge.judge([sentence], keep=lambda _, v, wav: kept.update({v: wav}))
    assert failures == []
    recording = load(tmp_path / "noise.wav", offset=0.1, duration=0.2).wav
    codec = small_talker().codec
    # The talker writes two of the codec's three books.
    coded = codec.decode(codec.encode(recording, n_q=2))
    assert torch.equal(kept["recording"], recording[0])
    assert torch.equal(kept["codec"], coded[0])
    assert row.takes["recording"].heard == "heard 3200"
    scores = {version: take.scores for version, take in row.takes.items()}
    assert scores["recording"] == {"loud": pytest.approx(float(recording.abs().mean()))}
    assert scores["codec"]["apart"] == 0
    assert scores["talker"]["apart"] == 3200 - len(kept["talker"])


def test_what_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    told: list[Row | Failure] = []
    entries: list[Sentence | Failure] = [
        Failure("line 1", ValueError("no line")),
        Sentence("line 2", 2, "..."),
        Sentence("line 3", 3, "Hello.", Recording(str(tmp_path / "bad.wav"))),
        Sentence("line 4", 4, "Boom."),
        Sentence("line 5", 5, "Hello."),
    ]
    calls = 0

    def hear(wav: Tensor, rate: int) -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("boom")
        return "hello"

    rows, failures = Judge(Synthesizer(small_talker()), hear, NOTHING).judge(entries, told.append)
    assert [row.name for row in rows] == ["line 3", "line 5"]
    assert set(rows[0].takes) == {"talker"}
    assert [failure.name for failure in failures] == ["line 1", "line 2", "line 3", "line 4"]
    assert "nothing to say" in str(failures[1].error)
    assert "bad.wav" in str(failures[2].error)
    assert len(told) == 6


def row(number: int, heard: str, first_audio: float, recorded: str | None = None) -> Row:
    takes: dict[Version, Take] = {"talker": Take(heard, 2.0, {"dnsmos": 3.0 + number})}
    if recorded is not None:
        takes |= {"codec": Take(recorded, 1.0, {}), "recording": Take("red green blue", 1.0, {})}
    ending = "limit" if number == 2 else "end"
    return Row(f"line {number}", "Red, green, blue!", first_audio, 1.0, (ending, "end"), takes)


def report(*rows: Row) -> Report:
    settings = Settings("t", "c", "hash", 4, 50.0, RATE, "en", None, 3, "tiny.en", "cpu", 1, ())
    return Report(settings, rows, (), {"speaker_cosine": "no package: install it"}, english())


def test_numbers_of_a_report() -> None:
    first = [row(n, "red green blue", n / 10) for n in range(1, 20)]
    found = report(*first, row(20, "red grin blue", 2.0, recorded="red"))
    numbers = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    talker, codec = numbers["versions"]["talker"], numbers["versions"]["codec"]
    assert talker["wer"]["rate"] == pytest.approx(1 / 60)
    assert (talker["wer"]["length"], talker["wer"]["substitutions"]) == (60, 1)
    assert talker["wer"]["low"] <= talker["wer"]["rate"] <= talker["wer"]["high"]
    assert codec["wer"]["rate"] == pytest.approx(2 / 3)
    assert numbers["versions"]["recording"]["wer"]["rate"] == 0
    assert codec["sentences"] == 1
    assert talker["scores"]["dnsmos"] == {"mean": 13.5, "std": pytest.approx(5.91608), "num": 20}
    assert numbers["cut"] == 1
    assert numbers["endings"] == {"end": 39, "limit": 1, "loop": 0}
    assert numbers["first_audio_seconds"]["p50"] == pytest.approx(1.05)
    assert numbers["first_audio_seconds"]["p95"] == pytest.approx(1.905)
    assert numbers["rtf"] == 0.5
    assert talker["cer"]["rate"] == pytest.approx(2 / (20 * len("red green blue")))
    assert numbers["rows"][19]["codec"]["heard"] == "red"


def test_a_report_for_people() -> None:
    shown = io.StringIO()
    terminal = Console(width=120, file=shown)
    found = report(row(1, "red green blue", 0.1), row(2, "", 0.3, recorded="red green blue"))
    for table in tables(found):
        terminal.print(table)
    lines = shown.getvalue().splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert ["WER %", "50.0 (0.0-100.0)", "0.0 (0.0-0.0)", "0.0 (0.0-0.0)"] in cells
    assert ["sentences that did not end", "1 of 2 (1 limit)"] in cells
    assert ["ms to the first sound, p50", "200"] in cells
    assert notes(found)[-1] == "no speaker cosine: no package: install it"


def test_sentences_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfOne.\n\n  Two. \r\n\xff\xfe\n")
    first, second, bad = read_sentences(str(path))
    assert (first, second) == (
        Sentence(f"{path}, line 1", 1, "One."),
        Sentence(f"{path}, line 3", 3, "Two."),
    )
    assert isinstance(bad, Failure)
    assert bad.name == f"{path}, line 4"
    assert "not UTF-8" in str(bad.error)


def test_sentences_of_a_manifest(tmp_path: Path) -> None:
    rows = [
        {"text": "One."},
        {"text": "Two.", "audio": "b.wav", "duration": 2.5},
        {"text": "Three.", "audio": "b.wav", "offset": 1.0, "duration": 2.5},
        {"audio": "b.wav"},
        {"text": "Five.", "audio": 5},
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, two, three, four, five = read_sentences(str(path))
    recording = str(tmp_path / "b.wav")
    assert isinstance(one, Sentence)
    assert one.recording is None
    assert isinstance(two, Sentence)
    assert two.recording == Recording(recording)  # that only says how long it is
    assert isinstance(three, Sentence)
    assert three.recording == Recording(recording, 1.0, 2.5)
    assert isinstance(four, Failure)
    assert "'text' is None; write the sentence there" in str(four.error)
    assert isinstance(five, Failure)
    assert "'audio' is 5" in str(five.error)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "no such file"),
        ("a.csv", b"One.", "expected a .txt"),
        ("a.txt", b" \n\n", "has no sentences"),
        ("a.jsonl.gz", b"\x1f\x8b damaged", "cannot be read"),
    ],
)
def test_lists_that_are_none(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_sentences(str(tmp_path / name))


def test_the_speaker_cosine_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoder:
        def __init__(self, device: str, verbose: bool) -> None:
            assert (device, verbose) == ("cpu", False)

        def embed_utterance(self, wav: np.ndarray) -> np.ndarray:
            return np.array([1.0, 0.0] if wav[0] > 0 else [0.6, 0.8])

    package = SimpleNamespace(
        VoiceEncoder=Encoder, preprocess_wav=lambda wav, source_sr: wav[np.abs(wav) > 0.01]
    )
    monkeypatch.setitem(sys.modules, "resemblyzer", cast(Any, package))
    (scorer,), missing = find_scorers(RATE, [SPEAKER])
    assert missing == {}
    one, other = torch.full((800,), 0.5), torch.full((800,), -0.5)
    assert scorer(one, one) == 1.0
    assert scorer(one, other) == pytest.approx(0.6)
    assert scorer(one, torch.zeros(800)) is None


def test_without_the_package_it_is_told_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    assert (
        "pip install --no-deps resemblyzer"
        in find_scorers(RATE, [SPEAKER]).missing["speaker_cosine"]
    )

"""File transcription at its desk, with a recogniser that knows what is said."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from desk_parts import DeskBrowser, tone, until, wav_file

from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word
from echoic.demo.files import MAX_MINUTES, RATE, FileDesk


def segment(number: int, words: tuple[Word, ...] | None, text: str) -> Segment:
    return Segment(number, 5.0 * number, 5.0 * number + 1, text, (), 0.0, 0.0, 0.0, 0.0, words)


SEGMENTS = (
    segment(0, (Word(0.0, 0.4, " A<b>", 0.9), Word(0.5, 1.0, " word", 1.2)), " A<b> word"),
    segment(1, None, " untimed"),
)


class Knowing:
    """A transcriber that says the same of everything, in two halves."""

    def __init__(self) -> None:
        self.heard: list[np.ndarray] = []
        self.waits = threading.Event()
        self.waits.set()

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: TranscribeOptions,
        *,
        batch_size: int,
        on_progress: Callable[[float], None],
    ) -> Iterator[Outcome]:
        assert options.word_timestamps
        for source in sources:
            wav, rate = sf.read(source.path)
            assert rate == RATE
            self.heard.append(wav)
            for _ in range(2):
                on_progress(len(wav) / rate / 2)
                assert self.waits.wait(20)
            yield Outcome(source, Transcript("en", 1.0, len(wav) / rate, SEGMENTS), None)


@pytest.fixture
def knowing() -> Knowing:
    return Knowing()


@pytest.fixture
def browser(knowing: Knowing) -> Iterator[DeskBrowser]:
    desk = FileDesk(lambda: knowing)  # type: ignore[arg-type, return-value]
    yield DeskBrowser(desk)
    desk.close()


def test_a_recording_of_any_rate_becomes_words_in_time(browser: DeskBrowser, knowing: Knowing):
    stereo = np.stack([tone(3, 8000), tone(3, 8000)], 1)
    browser.bring(wav_file(stereo, 8000))
    result = browser.result("transcribe")
    assert result["lines"] == [
        {
            "start": 0.0,
            "end": 1.0,
            "words": [
                {"text": "A<b>", "gap": " ", "start": 0.0, "end": 0.4, "sure": 0.9},
                {"text": "word", "gap": " ", "start": 0.5, "end": 1.0, "sure": 1.0},
            ],
        },
        {
            "start": 5.0,
            "end": 6.0,
            "words": [{"text": "untimed", "gap": "", "start": 5.0, "end": 6.0}],
        },
    ]
    assert (result["rate"], result["seconds"], result["language"]) == (RATE, 3.0, "en")
    sound = browser.track("sound") / 32767
    assert len(sound) == 3 * RATE
    inner = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(sound[inner], tone(3)[inner], atol=0.01)
    np.testing.assert_allclose(knowing.heard[0], sound, atol=1e-4)


def test_transcripts_are_saved_in_the_usual_formats(browser: DeskBrowser):
    assert "nothing is transcribed" in browser.ask("export", kind="txt")["problem"]
    browser.bring(wav_file(tone(3)))
    browser.result("transcribe")
    saved = {kind: browser.ask("export", kind=kind)["text"] for kind in ("txt", "srt", "vtt")}
    assert saved["txt"] == "A<b> word\nuntimed\n"
    assert saved["srt"].startswith("1\n00:00:00,000 --> 00:00:01,000\nA<b> word\n")
    assert saved["vtt"].startswith("WEBVTT\n\n00:00.000 --> 00:01.000\n")
    page = json.loads(browser.ask("export", kind="json")["text"])
    assert [w["word"] for w in page["segments"][0]["words"]] == [" A<b>", " word"]
    assert "kind is 'exe'" in browser.ask("export", kind="exe")["problem"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"no sound at all, but text", "talk.wav: "),
        (wav_file(tone(0.05)), "talk.wav lasts 0.05 s, expected 0.1 s or more"),
        (wav_file(np.zeros(int(1000 * (60 * MAX_MINUTES + 1))), 1000), "longer than 10 minutes"),
    ],
    ids=["text", "short", "long"],
)
def test_files_that_cannot_be_taken_are_a_line(
    browser: DeskBrowser, knowing: Knowing, data: bytes, problem: str
):
    browser.bring(data)
    answer = browser.work("transcribe")
    assert problem in answer["problem"]
    assert len(answer["problem"].splitlines()) == 1
    assert answer["result"] is None
    assert knowing.heard == []
    browser.bring(wav_file(tone(1)))
    assert browser.result("transcribe")["seconds"] == 1.0


def test_without_a_file_there_is_nothing_to_do(browser: DeskBrowser):
    assert "choose a file" in browser.work("transcribe")["problem"]


def test_stop_ends_the_work_between_two_windows(browser: DeskBrowser, knowing: Knowing):
    knowing.waits.clear()
    browser.bring(wav_file(tone(2)))
    browser.ask("transcribe")
    until(lambda: browser.ask("look").get("done") == 0.5)
    browser.ask("stop")
    knowing.waits.set()
    until(lambda: browser.ask("look")["phase"] == "idle")
    assert browser.ask("look")["result"] is None
    assert len(browser.track("sound")) == 2 * RATE


def test_a_recogniser_that_is_not_there_is_a_line():
    def load() -> Any:
        raise ValueError("no model 'x': expected a name in the box")

    desk = FileDesk(load)
    browser = DeskBrowser(desk)
    browser.bring(wav_file(tone(1)))
    assert browser.work("transcribe")["problem"] == "no model 'x': expected a name in the box"
    desk.close()

"""Speech synthesis at its desk, with a talker of random weights."""

import importlib.util
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from desk_parts import DeskBrowser, tone, until, wav_file
from small_talker import small_talker

from echoic.demo.speech import MAX_CHARACTERS, SpeechDesk
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.voice import make_voice

TEXT = "One two. Three!"


@pytest.fixture
def heard() -> list[int]:
    return []


@pytest.fixture
def browser(heard: list[int]) -> Iterator[DeskBrowser]:
    def hear(wav: torch.Tensor, sample_rate: int) -> str:
        heard.append(len(wav) // sample_rate)
        return "what was heard"

    desk = SpeechDesk(lambda: Synthesizer(small_talker("along")), hear)
    yield DeskBrowser(desk)
    desk.close()


def test_the_page_gets_the_sound_and_the_words_of_the_synthesizer(browser: DeskBrowser):
    result = browser.result("speak", text=TEXT, seed=3)
    expected = Synthesizer(small_talker("along")).speak(TEXT, seed=3)
    samples = np.round(expected.wav.clamp(-1, 1).numpy() * 32767)
    assert np.array_equal(browser.track("speech"), samples)
    assert result["rate"] == expected.sample_rate
    assert result["seconds"] == pytest.approx(len(samples) / expected.sample_rate)
    assert [[w["text"] for w in row["words"]] for row in result["sentences"]] == [
        [word.text for word in sentence.words] for sentence in expected.sentences
    ]
    assert [w["start"] for w in result["sentences"][1]["words"]] == [
        word.start for word in expected.sentences[1].words
    ]
    assert result["first"] > 0
    assert result["rtf"] > 0
    browser.result("speak", text="One", seed=3)
    assert len(browser.track("speech")) < len(samples), "a new text begins a new sound"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "write something first"),
        (" \n", "write something first"),
        ("...", "nothing to say"),
        ("a" * (MAX_CHARACTERS + 1), f"at most {MAX_CHARACTERS} here"),
        (7, "text is a int"),
    ],
)
def test_what_cannot_be_said_is_a_line(browser: DeskBrowser, text: Any, problem: str):
    answer = browser.work("speak", text=text)
    assert problem in answer["problem"]
    assert answer["result"] is None


def test_stop_ends_the_speech_and_keeps_what_was_said(
    browser: DeskBrowser, monkeypatch: pytest.MonkeyPatch
):
    speaks, go_on = threading.Event(), threading.Event()
    whole = Synthesizer.stream

    def slowly(self: Synthesizer, *args: Any, **settings: Any) -> Any:
        for number, chunk in enumerate(whole(self, *args, **settings)):
            if number == 1:
                speaks.set()
                assert go_on.wait(20)
            yield chunk

    monkeypatch.setattr(Synthesizer, "stream", slowly)
    browser.ask("speak", text=TEXT)
    assert speaks.wait(20)
    said = browser.track("speech")
    assert len(said)
    browser.ask("stop")
    go_on.set()
    until(lambda: browser.ask("look")["phase"] == "idle")
    assert browser.ask("look")["result"] is None
    assert np.array_equal(browser.track("speech")[: len(said)], said)


def test_a_voice_of_a_recording_is_spoken_with_until_it_is_forgotten(
    browser: DeskBrowser, heard: list[int]
):
    own = _speech(browser)
    browser.bring(wav_file(tone(2.0)), "me.wav")
    made = browser.result("voice", text="")
    assert (made["voice"], made["text"], made["seconds"]) == ("me.wav", "what was heard", 2.0)
    assert heard == [2]
    other = _speech(browser)
    assert not np.array_equal(own, other)
    talker = small_talker("along")
    wav = torch.from_numpy(tone(2.0)).float()
    wav = (wav * 32768).round().clamp(-32768, 32767) / 32768  # as the file holds it
    voice = make_voice(talker, wav, "what was heard")
    expected = Synthesizer(talker).speak(TEXT, voice=voice)
    assert np.array_equal(other, np.round(expected.wav.clamp(-1, 1).numpy() * 32767))
    assert browser.ask("forget") == {}
    assert np.array_equal(_speech(browser), own)


def test_recordings_that_make_no_voice_are_a_line(browser: DeskBrowser, heard: list[int]):
    assert "choose a file" in browser.work("voice", text="")["problem"]
    browser.bring(wav_file(tone(0.5)))
    assert "expected 1 s or more" in browser.work("voice", text="")["problem"]
    browser.bring(wav_file(np.zeros(1000 * 31), 1000))
    assert "longer than 30 s" in browser.work("voice", text="")["problem"]
    browser.bring(wav_file(np.zeros(2 * 16000)))
    assert "silent" in browser.work("voice", text="what it says")["problem"]
    assert heard == []


def test_preparing_says_nothing(browser: DeskBrowser):
    assert browser.result("prepare") == {"rate": 16000}
    assert browser.track("speech").tolist() == []


def _speech(browser: DeskBrowser) -> np.ndarray:
    browser.result("speak", text=TEXT)
    return browser.track("speech")


def test_without_the_package_the_tab_says_how_to_get_it(
    browser: DeskBrowser, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("gradio", reason="needs gradio: pip install 'echoic[demo]'")
    from echoic.demo.app import build_app
    from echoic.demo.speech import speech_tab

    tabs = [speech_tab(browser.desk)]  # type: ignore[list-item]
    with_it = str(build_app(tabs).get_config_file())
    assert "speech-speak" in with_it
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = str(build_app(tabs).get_config_file())
    assert "pip install 'echoic[tts]'" in without.replace("\\'", "'")
    assert "speech-speak" not in without

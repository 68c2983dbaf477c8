"""Many pages, one process: sound in, captions out, nobody waits and nobody sees another's words."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from demo_parts import RATE, Browser, Reciter, pcm, silence

from echoic.demo.hub import LiveHub

TEXT = "one two three four five six seven eight nine ten"
MakeHub = Callable[..., LiveHub]


def test_words_come_while_sound_comes_and_the_last_one_at_stop(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT)))
    assert browser.start()["phase"] == "running"
    for _ in range(5):
        browser.hear(0.25)
    deadline = time.monotonic() + 10
    while "two" not in (answer := browser.ask("look"))["open"]:
        assert time.monotonic() < deadline
    assert "ec-stable" in answer["open"]
    assert browser.lines == []
    browser.hear(0.3)  # half of what the third word needs is still in the queue or in a block
    answer = browser.stop()
    assert browser.text == "one two three\n"
    assert len(browser.lines) == 1
    assert "three" in browser.lines[0]
    assert answer["open"] == ""
    assert answer["audio"] == pytest.approx(1.55)
    assert answer["behind"] == 0.0
    assert answer["rtf"] > 0


def test_hearing_does_not_wait_for_a_slow_model(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT, slowness=0.05)))
    browser.start()
    took, answer = [], {}
    for _ in range(20):
        begin = time.perf_counter()
        answer = browser.hear(0.1)
        took.append(time.perf_counter() - begin)
    assert sorted(took)[len(took) // 2] < 0.005
    assert answer["behind"] > 1.0
    assert browser.stop()["phase"] == "idle"
    assert browser.text == "one two three four\n"


def test_stop_does_not_wait_either(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT, slowness=0.1)))
    browser.start()
    browser.hear(1.0)
    begin = time.perf_counter()
    assert browser.ask("stop")["phase"] == "finishing"
    assert time.perf_counter() - begin < 0.2
    browser.wait_for("idle")
    assert browser.text == "one two\n"


def test_sound_that_comes_twice_is_heard_once(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT)))
    browser.start()
    browser.hear(1.0)
    browser.sent = RATE // 2  # the answer to the second half was lost: it is sent again, with more
    browser.hear(1.0)
    assert browser.stop()["audio"] == pytest.approx(1.5)
    assert browser.text == "one two three\n"


def test_sound_that_is_missing_is_told(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT)))
    browser.start()
    browser.sent = RATE
    assert "begins at sample 16000, but only 0 have come" in browser.hear(1.0)["problem"]


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (48000, 1), (96000, 2)])
def test_any_rate_and_channels(make_hub: MakeHub, rate: int, channels: int):
    browser = Browser(make_hub(Reciter(TEXT)), rate=rate)
    browser.start()
    for _ in range(8):
        browser.hear(0.26, channels)
    assert browser.stop()["audio"] == pytest.approx(2.08, abs=0.01)
    assert browser.text == "one two three four\n"


def test_several_users_at_once_see_their_own_words(make_hub: MakeHub):
    texts = {ms: f"chunk {ms} " * 3 for ms in (160, 320, 640, 1000)}
    hub = make_hub(lambda ms: Reciter(texts[ms]))
    browsers = {ms: Browser(hub, f"page-of-{ms}") for ms in texts}

    def use(ms: int) -> None:
        browsers[ms].start(ms)
        for _ in range(30):
            browsers[ms].hear(0.1)
        browsers[ms].stop()

    threads = [threading.Thread(target=use, args=(ms,)) for ms in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {ms: b.text.strip() for ms, b in browsers.items()} == {
        ms: text.strip() for ms, text in texts.items()
    }
    assert hub.num_streams == 0


def test_a_second_recording_goes_on_below_the_first(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter("hello again")))
    for _ in range(2):
        browser.start()
        browser.hear(1.2)
        browser.stop()
    assert browser.text == "hello again\nhello again\n"
    words = browser.ask("export", kind="srt")["text"]
    assert "00:00:01,200 --> 00:00:02,200" in words


def test_clear_forgets_what_was_said_and_goes_on(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter("hello again")))
    browser.start()
    browser.hear(1.2)
    browser.stop()
    browser.start()
    assert browser.ask("clear")["total"] == 0
    assert browser.lines == []
    browser.hear(0.6)
    browser.stop()
    assert browser.text == "hello\n"


def test_a_model_that_fails_is_told_and_the_page_can_start_again(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT, fails_after=RATE)))
    browser.start()
    browser.hear(0.6)
    deadline = time.monotonic() + 10
    while "problem" not in (answer := browser.hear(0.6)):
        assert time.monotonic() < deadline
    assert "out of words" in answer["problem"]
    assert "out of words" in browser.stop()["error"]
    assert browser.text == ""
    assert browser.start()["error"] is None


def test_pages_that_are_left_cost_nothing_more(make_hub: MakeHub):
    hub = make_hub(Reciter(TEXT, slowness=0.05))
    browsers = [Browser(hub, f"page-{i:04d}") for i in range(4)]
    for browser in browsers:
        browser.start()
        browser.hear(1.0)
    assert (hub.num_pages, hub.num_streams) == (4, 4)
    for browser in browsers:
        hub.leave(browser.name)
    hub.leave("never-was-here")
    assert (hub.num_pages, hub.num_streams) == (0, 0)
    deadline = time.monotonic() + 10
    while hub._scheduler.stats.streams:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_page_that_is_left_while_its_model_loads_starts_nothing(make_hub: MakeHub):
    loading, go_on = threading.Event(), threading.Event()

    def load(_: int) -> Reciter:
        loading.set()
        go_on.wait(10)
        return Reciter(TEXT)

    hub = make_hub(load)
    answers: list[dict[str, Any]] = []
    browser = Browser(hub)
    thread = threading.Thread(target=lambda: answers.append(browser.start()))
    thread.start()
    assert loading.wait(10)
    hub.leave(browser.name)
    go_on.set()
    thread.join()
    assert "the page was closed" in answers[0]["problem"]
    assert hub.num_streams == 0


def test_a_model_is_loaded_once_for_all(make_hub: MakeHub):
    loaded: list[int] = []

    def load(ms: int) -> Reciter:
        loaded.append(ms)
        time.sleep(0.05)
        return Reciter(TEXT)

    hub = make_hub(load)
    threads = [
        threading.Thread(target=Browser(hub, f"page-{i:04d}").start, args=(ms,))
        for i, ms in enumerate([320, 640] * 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(loaded) == [320, 640]
    assert hub.num_streams == 6


def test_no_more_streams_than_there_may_be(make_hub: MakeHub):
    hub = make_hub(Reciter(TEXT), max_streams=2)
    first, second, third = (Browser(hub, f"page-{i:04d}") for i in range(3))
    first.start()
    second.start()
    assert "2 recordings are running" in third.start()["problem"]
    first.stop()
    assert third.start()["phase"] == "running"
    assert "is running on this page" in third.start()["problem"]


def test_recordings_without_sound_end_and_the_oldest_pages_are_forgotten(make_hub: MakeHub):
    now = [0.0]
    hub = make_hub(Reciter(TEXT), idle_seconds=30, max_pages=2, clock=lambda: now[0])
    first, second, third = (Browser(hub, f"page-{i:04d}") for i in range(3))
    first.start()
    first.hear(0.6)
    now[0] = 31.0
    second.ask("look")
    deadline = time.monotonic() + 10
    while hub.num_streams:
        assert time.monotonic() < deadline
    assert first.text == "one\n"
    now[0] = 32.0
    second.ask("look")
    third.ask("look")
    assert hub.num_pages == 2
    assert first.text == ""


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (None, "expected an object"),
        ([], "expected an object"),
        ({"do": "look", "seen": 0}, "from which page"),
        ({"do": "look", "page": "x" * 65}, "from which page"),
        ({"do": "look", "page": 12345678}, "from which page"),
        ({"do": "__init__"}, "no such request: '__init__'"),
        ({"do": ["look"]}, "no such request"),
        ({"do": "look", "seen": -1}, "seen is -1"),
        ({"do": "look", "seen": True}, "seen is True"),
        ({"do": "start", "chunk_ms": 7, "rate": RATE}, "expected one of 160, 320, 640, 1000"),
        ({"do": "start", "chunk_ms": 320, "rate": 1}, "sample_rate is 1"),
        ({"do": "export", "kind": "exe"}, "kind is 'exe'"),
        ({"do": "export"}, "kind is 'None'"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(make_hub: MakeHub, request_: Any, problem: str):
    hub = make_hub(Reciter(TEXT))
    if isinstance(request_, dict) and "do" in request_:
        needs_page = "page" not in problem
        request_ = {"seen": 0, **({"page": "page-one"} if needs_page else {}), **request_}
    assert problem in hub.handle(request_)["problem"]
    assert hub.num_streams == 0


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"pcm": None}, "has no pcm"),
        ({"pcm": "?"}, "is no base64"),
        ({"pcm": "QUI"}, "is no base64"),
        ({"pcm": "QQ=="}, "has 1 bytes"),
        ({"channels": 0}, "channels is 0"),
        ({"channels": 2, "pcm": pcm(np.zeros(3))}, "has 6 bytes"),
        ({"pcm": silence(11)}, "longer than 10 s"),
        ({"rate": 10**9}, "sample_rate"),
        ({"rate": 0, "pcm": ""}, "sample_rate"),
        ({"at": 1.5}, "at is 1.5"),
    ],
)
def test_wrong_sound_is_told_and_changes_nothing(
    make_hub: MakeHub, fields: dict[str, Any], problem: str
):
    browser = Browser(make_hub(Reciter(TEXT)))
    browser.start()
    good = {"at": 0, "rate": RATE, "pcm": silence(0.6)}
    assert problem in browser.ask("hear", **{**good, **fields})["problem"]
    browser.hear(0.6)
    browser.stop()
    assert browser.text == "one\n"


def test_sound_before_start_is_told(make_hub: MakeHub):
    assert "press Start" in Browser(make_hub(Reciter(TEXT))).hear(0.1)["problem"]


def test_a_page_that_lost_its_lines_gets_them_again(make_hub: MakeHub):
    browser = Browser(make_hub(Reciter(TEXT)))
    browser.start()
    browser.hear(0.6)
    browser.stop()
    assert browser.ask("look")["lines"] == []
    browser.seen = 99
    answer = browser.ask("look")
    assert (answer["from"], answer["total"], len(answer["lines"])) == (0, 1, 1)

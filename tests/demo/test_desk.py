"""Pages at a desk: what they bring arrives whole, jobs are done in turn, and all can be stopped."""

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from desk_parts import DeskBrowser, until

from echoic.demo.desk import Desk
from echoic.demo.desk_page import DeskPage

Job = Callable[[DeskPage[list[str]], Mapping[str, Any]], dict[str, Any]]


def measure(page: DeskPage[list[str]], request: Mapping[str, Any]) -> dict[str, Any]:
    page.memory.append(page.file_name)
    if request.get("fails"):
        raise {"value": ValueError, "key": KeyError}[request["fails"]]("no\n good")
    return {"bytes": bytes(page.file).hex(), "so far": list(page.memory)}


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk[list[str]]]]:
    desks: list[Desk[list[str]]] = []

    def make(*, job: Job = measure, **settings: Any) -> Desk[list[str]]:
        answers = {"recall": lambda page, request: {"files": page.memory}}
        limits = {"max_bytes": 1000, **settings}
        desks.append(Desk(list, {"measure": job}, answers, **limits))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.mark.parametrize("piece", [1, 7, 300, 1000])
def test_a_file_arrives_whole_in_pieces_of_any_size(open_desk: Any, piece: int):
    data = bytes(np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8))
    browser = DeskBrowser(open_desk())
    assert browser.bring(data, "a.wav", piece) == {"have": 300}
    assert browser.result("measure") == {"bytes": data.hex(), "so far": ["a.wav"]}
    browser.bring(b"\x01", "b.wav")
    assert browser.result("measure") == {"bytes": "01", "so far": ["a.wav", "b.wav"]}
    assert browser.ask("recall") == {"files": ["a.wav", "b.wav"]}


def test_pieces_that_come_twice_are_taken_once_and_lost_ones_are_told(open_desk: Any):
    browser = DeskBrowser(open_desk())

    def bring(at: int, data: bytes) -> dict[str, Any]:
        text = base64.b64encode(data).decode()
        return browser.ask("bring", at=at, name="a", size=5, data=text)

    assert [bring(0, b"abc"), bring(0, b"abc"), bring(1, b"bcd")] == [
        {"have": 3},
        {"have": 3},
        {"have": 4},
    ]
    assert "not come whole" in browser.ask("measure")["problem"]
    assert "got lost" in bring(5, b"e")["problem"]
    bring(4, b"e")
    assert browser.result("measure")["bytes"] == b"abcde".hex()
    assert "longer than it said" in bring(5, b"f")["problem"]


def test_files_that_are_too_large_or_empty_are_told_before_they_come(open_desk: Any):
    browser = DeskBrowser(open_desk(max_bytes=2_000_000))
    huge = browser.ask("bring", at=0, name="a.wav", size=3_000_000, data="")
    assert huge["problem"].startswith("a.wav has 3 MB, at most 2 MB")
    assert browser.bring(b"", "b.wav")["problem"] == "b.wav is empty: give a recording"


def test_all_files_together_are_bounded(open_desk: Any):
    desk = open_desk(max_total_bytes=10)
    assert DeskBrowser(desk, "page-one").bring(b"0123456789ab") == {"have": 12}
    assert "try again later" in DeskBrowser(desk, "page-two").bring(b"0")["problem"]


def test_failures_are_a_line_and_the_page_goes_on(open_desk: Any):
    browser = DeskBrowser(open_desk())
    answer = browser.work("measure", fails="value")
    assert (answer["problem"], answer["result"]) == ("no good", None)
    assert "KeyError" in browser.work("measure", fails="key")["problem"]
    assert browser.result("measure")["so far"] == ["", "", ""]


class Slow:
    """A job that tells each step and waits to be let on."""

    def __init__(self) -> None:
        self.steps = threading.Semaphore(0)
        self.done: list[str] = []

    def __call__(self, page: DeskPage[list[str]], request: Mapping[str, Any]) -> dict[str, Any]:
        for step in range(3):
            assert self.steps.acquire(timeout=20)
            page.record("sound", np.full(2, step / 4), anew=step == 0)
            page.tell(step=step)
        self.done.append(request["page"])
        return {"steps": 3}


def test_jobs_are_done_in_turn_and_told_on_the_way(open_desk: Any):
    slow = Slow()
    first, second = (
        DeskBrowser(desk, name)
        for desk in [open_desk(job=slow)]
        for name in ("page-one", "page-two")
    )
    first.ask("measure")
    until(lambda: first.ask("look")["phase"] == "running")
    assert second.ask("measure")["phase"] == "waiting"
    assert "busy" in second.ask("measure")["problem"]
    assert "busy" in second.ask("bring", at=0, name="a", size=1, data="")["problem"]
    assert "busy" in second.ask("recall")["problem"]
    for _ in range(6):
        slow.steps.release()
    until(lambda: second.ask("look")["phase"] == "idle")
    assert slow.done == ["page-one", "page-two"]
    last = first.ask("look", track="sound", at=4)
    assert (last["result"], last["step"]) == ({"steps": 3}, 2)
    assert np.frombuffer(base64.b64decode(last["pcm"]), "<i2").tolist() == [
        8192,
        8192,
        16384,
        16384,
    ]
    assert first.track("sound").tolist() == [0, 0, 8192, 8192, 16384, 16384]
    assert second.track("nothing").tolist() == []


def test_a_look_waits_for_news_and_no_longer(open_desk: Any):
    slow = Slow()
    browser = DeskBrowser(open_desk(job=slow))
    browser.ask("measure")
    until(lambda: browser.ask("look")["phase"] == "running")
    before = browser.ask("look")
    start = time.monotonic()
    assert browser.ask("look", version=before["version"], wait=300)["version"] == before["version"]
    assert time.monotonic() - start >= 0.3
    threading.Timer(0.1, slow.steps.release).start()
    after = browser.ask("look", version=before["version"], wait=500)
    assert after["version"] > before["version"]
    browser.ask("stop")
    slow.steps.release()


def test_stop_and_leaving_end_a_job_at_its_next_step(open_desk: Any):
    slow = Slow()
    desk = open_desk(job=slow)
    first, second = DeskBrowser(desk, "page-one"), DeskBrowser(desk, "page-two")
    first.ask("measure")
    second.ask("measure")
    first.ask("stop")
    slow.steps.release()
    until(lambda: first.ask("look")["phase"] == "idle")
    answer = first.ask("look")
    assert (answer["result"], answer["problem"]) == (None, None)
    until(lambda: second.ask("look")["phase"] == "running")
    assert (desk.num_pages, desk.num_jobs) == (2, 1)
    desk.leave("page-two")
    desk.leave("never-was-here")
    slow.steps.release(3)
    first.ask("measure")
    until(lambda: first.ask("look")["phase"] == "idle" or slow.steps.release() is not None)
    until(lambda: slow.done == ["page-one"] or slow.steps.release() is not None)
    assert desk.num_pages == 1


def test_no_more_jobs_wait_than_may(open_desk: Any):
    slow = Slow()
    desk = open_desk(job=slow, max_waiting=1)
    answers = [DeskBrowser(desk, f"page-{i:04d}").ask("measure") for i in range(3)]
    assert "2 jobs are waiting" in answers[2]["problem"]
    assert "problem" in answers[1]
    assert answers[1]["problem"] is None
    slow.steps.release(6)


def test_the_pages_that_were_quiet_longest_are_forgotten(open_desk: Any):
    now = [0.0]
    desk = open_desk(max_pages=2, clock=lambda: now[0])
    for i in range(3):
        now[0] += 1
        DeskBrowser(desk, f"page-{i:04d}").bring(b"abc", f"{i}.wav")
        assert DeskBrowser(desk, f"page-{i:04d}").result("measure")["so far"] == [f"{i}.wav"]
    assert desk.num_pages == 2
    assert DeskBrowser(desk, "page-0002").ask("recall") == {"files": ["2.wav"]}
    assert DeskBrowser(desk, "page-0000").ask("recall") == {"files": []}


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (None, "expected an object"),
        ({"do": "look"}, "from which page"),
        ({"do": "look", "page": "x" * 65}, "from which page"),
        ({"do": "_pages"}, "no such request: '_pages'"),
        ({"do": ["look"]}, "no such request"),
        ({"do": "look", "wait": "long"}, "wait is 'long'"),
        ({"do": "look", "track": "a", "at": -1}, "at is -1"),
        ({"do": "bring", "at": 0, "size": 3}, "has no data"),
        ({"do": "bring", "at": 0, "size": 3, "data": "?"}, "is no base64"),
        ({"do": "bring", "at": 0, "size": 3, "data": "", "name": ["a"]}, "name is a list"),
        ({"do": "bring", "at": 0, "size": 3, "data": "", "name": "a" * 201}, "at most 200"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(open_desk: Any, request_: Any, problem: str):
    desk = open_desk()
    if isinstance(request_, dict) and "from which" not in problem:
        request_ = {"page": "page-one", **request_}
    assert problem in desk.handle(request_)["problem"]
    assert desk.num_jobs == 0

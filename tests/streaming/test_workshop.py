"""A thread of work: bounded, cancelled in mid-work, and alive after every error but its own."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest

from echoic.streaming.busy import Busy
from echoic.streaming.work import Ask, Outcome, Work
from echoic.streaming.workshop import Workshop, WorkshopConfig


class Doubles:
    stage = 0

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def answer(self, questions: Sequence[int], /) -> list[int]:
        assert self.go_on.wait(30)
        self.batches.append(sorted(questions))
        return [2 * question for question in questions]


def doubles(engine: Doubles, number: int, turns: int = 3) -> Work[int]:
    for _ in range(turns):
        found = yield Ask(engine, number)
        assert found == 2 * number
    return number


class Ends:
    """Collects what becomes of pieces of work."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def of(self, name: str) -> Callable[[Outcome], None]:
        return lambda outcome: self.outcomes.__setitem__(name, outcome)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_pieces_share_turns_and_an_error_ends_one() -> None:
    engine, ends = Doubles(), Ends()

    def failing() -> Work[None]:
        yield Ask(engine, 7)
        raise LookupError("lost")

    def told(_: Outcome) -> None:
        raise OSError("nobody listens any more")

    engine.go_on.clear()
    with Workshop() as workshop:
        workshop.submit(doubles(engine, 1), on_end=ends.of("one"))
        workshop.submit(doubles(engine, 2, 1), on_end=told)
        workshop.submit(failing(), on_end=ends.of("failing"))
        until(lambda: workshop.live + workshop.waiting == 3)
        engine.go_on.set()
    assert ends.outcomes["one"] == Outcome(1)
    assert isinstance(ends.outcomes["failing"].error, LookupError)
    assert max(map(len, engine.batches)) >= 2
    with pytest.raises(RuntimeError, match="closed"):
        workshop.submit(doubles(engine, 1))
    workshop.close()


def test_what_does_not_fit_is_refused_and_what_waits_has_its_turn() -> None:
    engine, ends = Doubles(), Ends()
    engine.go_on.clear()
    with Workshop(WorkshopConfig(places=1, waiting=2)) as workshop:
        jobs = [
            workshop.submit(doubles(engine, number), on_end=ends.of(str(number)))
            for number in range(3)
        ]
        with pytest.raises(Busy, match="3 pieces of work"):
            workshop.submit(doubles(engine, 9))
        jobs[1].cancel()  # while it waits
        engine.go_on.set()
        until(lambda: len(ends.outcomes) == 3)
    assert isinstance(ends.outcomes["1"].error, CancelledError)
    assert (ends.outcomes["0"].result, ends.outcomes["2"].result) == (0, 2)
    assert max(map(len, engine.batches)) == 1


def test_cancelled_work_costs_no_further_turn_and_cleans_up() -> None:
    engine, ends, cleaned = Doubles(), Ends(), threading.Event()

    def endless() -> Work[None]:
        try:
            while True:
                yield Ask(engine, 1)
        finally:
            cleaned.set()

    with Workshop() as workshop:
        job = workshop.submit(endless(), on_end=ends.of("endless"))
        until(lambda: len(engine.batches) > 3)
        job.cancel()
        until(lambda: "endless" in ends.outcomes)
        count = len(engine.batches)
        time.sleep(0.01)
        assert len(engine.batches) == count
        assert cleaned.is_set()
        # Closing without finishing is the same for all.
        workshop.submit(endless(), on_end=ends.of("cut"))
        until(lambda: len(engine.batches) > count)
        workshop.close()
    assert isinstance(ends.outcomes["cut"].error, CancelledError)


def test_little_slack_goes_first_and_infinite_slack_waits() -> None:
    engine, ends = Doubles(), Ends()
    slack = {"far": 5.0, "stuck": math.inf}
    engine.go_on.clear()
    with Workshop(WorkshopConfig(leisure=2.0)) as workshop:
        workshop.submit(doubles(engine, 3, 50))
        until(lambda: workshop.live == 1)
        stuck = workshop.submit(doubles(engine, 1), slack=lambda: slack["stuck"])
        workshop.submit(doubles(engine, 2), slack=lambda: slack["far"], on_end=ends.of("far"))
        engine.go_on.set()
        until(lambda: "far" in ends.outcomes)
        assert engine.batches == [[3]] * 50 + [[2]] * 3
        # What is over at once has no need of slack.
        workshop.submit(doubles(engine, 4, 0), slack=lambda: math.inf, on_end=ends.of("short"))
        until(lambda: "short" in ends.outcomes)
        slack["stuck"] = 0.0
        stuck.wake()
        until(lambda: not workshop.live)
    assert engine.batches[53:] == [[1]] * 3


def test_a_thread_that_breaks_leaves_nobody_waiting() -> None:
    engine, ends = Doubles(), Ends()

    def deadly() -> Work[None]:
        yield Ask(engine, 1)
        raise SystemExit("a callback ended the process")

    engine.go_on.clear()
    workshop = Workshop(WorkshopConfig(places=2))
    for name, work in (("other", doubles(engine, 2, 99)), ("deadly", deadly())):
        workshop.submit(work, on_end=ends.of(name))
    workshop.submit(doubles(engine, 3), on_end=ends.of("waits"))
    engine.go_on.set()
    until(lambda: len(ends.outcomes) == 3)
    assert {str(outcome.error) for outcome in ends.outcomes.values()} == {"the workshop broke"}
    with pytest.raises(RuntimeError, match="closed"):
        workshop.submit(doubles(engine, 1))
    workshop.close()


def test_settings_that_leave_nothing_to_do() -> None:
    with pytest.raises(ValueError, match="expected 1 or more places"):
        WorkshopConfig(places=0)
    with pytest.raises(ValueError, match="leisure"):
        WorkshopConfig(leisure=-1)
    with Workshop() as workshop:
        caught: list[RuntimeError] = []

        def closing() -> Work[None]:
            try:
                workshop.close()
            except RuntimeError as error:
                caught.append(error)
            yield Ask(Doubles(), 1)

        workshop.submit(closing())
        until(lambda: caught)
    assert "waits for itself" in str(caught[0])

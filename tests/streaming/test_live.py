"""The live session: nobody waits, nothing is lost unsaid, errors come out."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from energy_words import EnergyState, EnergyWords
from live_signals import RATE, recordings
from streaming_laws import comparable
from torch import Tensor

from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.live import LiveSession
from echoic.streaming.session import Session, SessionConfig
from echoic.streaming.work import Work

UNGATED = SessionConfig(GateConfig(enabled=False))


class Held(EnergyWords):
    """Works only while the gate in its hands is open, and counts what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.entered = threading.Event()
        self.heard = 0

    def step(self, state: EnergyState, wav: Tensor) -> tuple[EnergyState, list[Event]]:
        self.entered.set()
        assert self.go.wait(20)
        self.heard += wav.shape[1]
        return super().step(state, wav)


class Broken(EnergyWords):
    def step(self, state: EnergyState, wav: Tensor) -> tuple[EnergyState, list[Event]]:
        raise OSError("the model's file is gone")


def ungated(recognizer: EnergyWords | None = None) -> Session[Any]:
    return Session(recognizer or EnergyWords(), sample_rate=RATE, config=UNGATED)


def held(**options: Any) -> tuple[Held, LiveSession]:
    """Return a live session whose worker is busy with 0.1 s of sound until told to go on."""
    recognizer = Held()
    live = LiveSession(ungated(recognizer), **options)
    assert live.put(torch.zeros(RATE // 10))
    assert recognizer.entered.wait(20)
    return recognizer, live


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_events_are_those_of_the_session():
    wav = torch.cat([recordings()[0], recordings()[1]])
    alone = ungated()
    expected = alone.feed(wav) + alone.finish()
    with LiveSession(ungated()) as live:
        for chunk in wav.split(1777):
            assert live.put(chunk.numpy())
    assert comparable(live.poll()) == comparable(expected)
    assert live.poll() == []
    assert live.behind == 0.0
    assert live.stats.audio_seconds == len(wav) / RATE


def test_put_does_not_wait_for_the_model():
    recognizer, live = held()
    started = time.perf_counter()
    for _ in range(100):
        assert live.put(torch.zeros(1600))
    assert time.perf_counter() - started < 2.0
    assert recognizer.heard == 0
    assert live.behind == pytest.approx(0.1 + 100 * 0.1)
    recognizer.go.set()
    live.close()
    assert (recognizer.heard, live.behind) == (101 * 1600, 0.0)


def test_the_callers_memory_is_free_again():
    buffer = torch.empty(800)
    wav = recordings()[1]
    alone = ungated()
    expected = alone.feed(wav) + alone.finish()
    with LiveSession(ungated()) as live:
        for chunk in wav.split(800):
            live.put(buffer[: len(chunk)].copy_(chunk))
            buffer.fill_(0.7)
    assert comparable(live.poll()) == comparable(expected)


def test_a_full_queue_refuses():
    recognizer, live = held(max_seconds=1.0)
    assert all(live.put(torch.zeros(1600)) for _ in range(10))
    assert not live.put(torch.zeros(1600))
    assert live.put(torch.zeros(0))
    assert live.refused_seconds == pytest.approx(0.1)
    assert live.behind == pytest.approx(1.1)
    recognizer.go.set()
    until(lambda: live.behind == 0.0)
    assert live.put(torch.zeros(1600))
    live.close()
    assert live.dropped_seconds == 0.0
    assert recognizer.heard == 12 * 1600


def test_a_full_queue_drops_the_older_half_in_one_piece():
    recognizer, live = held(max_seconds=1.0, policy="drop_oldest")
    marks = torch.arange(1, 14) / 20
    for mark in marks:
        assert live.put(torch.full((1600,), float(mark)))
    # 10 fit; the 11th drops until half are left with it; two more follow.
    dropped = live.dropped_seconds
    assert dropped == pytest.approx(0.6)
    assert live.behind == pytest.approx(0.1 + 0.7)
    recognizer.go.set()
    live.close()
    assert recognizer.heard == 8 * 1600
    events = live.poll()
    assert live.stats.skipped_seconds == pytest.approx(dropped)
    assert live.session.position == pytest.approx(0.1 + 13 * 0.1)
    assert live.stats.utterances == 2
    assert events[-1].type == "final"
    assert events[-1].start == pytest.approx(0.7)  # what is left is where it was
    assert events[-1].end == pytest.approx(1.4)


def test_waiting_sound_is_joined_and_rates_are_kept_apart():
    recognizer, live = held()
    calls: list[tuple[int, int | None]] = []
    feeding = live.session.feeding

    def noted(wav: Any, *, sample_rate: int | None = None) -> Work[list[Event]]:
        calls.append((wav.shape[1], sample_rate))
        return feeding(wav, sample_rate=sample_rate)

    live.session.feeding = noted  # type: ignore[method-assign]
    for _ in range(25):
        live.put(torch.zeros(1600))
    live.put(torch.zeros(2, 800), 8000)
    live.put(torch.zeros(800), 8000)
    recognizer.go.set()
    live.close()
    assert calls == [(16_000, RATE), (16_000, RATE), (8000, RATE), (800, 8000), (800, 8000)]


def test_single_samples_do_not_fill_the_memory():
    recognizer, live = held()
    for _ in range(4000):
        live.put(torch.zeros(1))
    assert len(live._queue) <= 4000 / 160 + 1
    assert live.behind == pytest.approx(0.1 + 0.25)
    recognizer.go.set()
    live.close()
    assert recognizer.heard == 1600 + 4000


def test_events_reach_a_callback_and_an_iterator():
    told: list[Event] = []
    threads = set()

    def on_event(event: Event) -> None:
        told.append(event)
        threads.add(threading.current_thread().name)

    with LiveSession(ungated(), on_event=on_event) as live:
        live.put(recordings()[1])
    assert told
    assert threads == {"echoic-live"}
    assert live.poll() == []

    live = LiveSession(ungated())
    seen: list[Event] = []
    reader = threading.Thread(target=lambda: seen.extend(live.events()))
    reader.start()
    live.put(recordings()[1])
    live.close()
    reader.join(20)
    assert comparable(seen) == comparable(told)


def test_poll_waits_for_the_first_event():
    recognizer, live = held()
    assert live.poll() == []
    assert live.poll(0.01) == []
    live.put(recordings()[1])
    threading.Timer(0.05, recognizer.go.set).start()
    assert live.poll(20)
    live.close()


def test_events_that_nobody_reads_do_not_pile_up():
    live = LiveSession(ungated())
    wav = recordings()[0].repeat(20)
    alone = ungated()
    expected = alone.feed(wav) + alone.finish()
    assert len(expected) > 1000
    for chunk in wav.split(RATE):
        live.put(chunk)
        until(lambda: live.behind < 20)
    live.close()
    unread = live.poll()
    assert len(unread) < 1000
    finals = [event for event in expected if event.type == "final"]
    assert comparable([e for e in unread if e.type == "final"]) == comparable(finals)


def test_an_error_reaches_every_later_call():
    live = LiveSession(ungated(Broken()))
    live.put(torch.zeros(1600))
    until(lambda: not live.worker.is_alive)
    for call in (lambda: live.put(torch.zeros(1)), live.poll, live.close, lambda: [*live.events()]):
        with pytest.raises(RuntimeError, match="worker failed: the model's file is gone") as info:
            call()
        assert isinstance(info.value.__cause__, OSError)


def test_an_error_in_the_callback_is_one_of_the_worker():
    def on_event(_: Event) -> None:
        raise KeyError("no such caption")

    live = LiveSession(ungated(), on_event=on_event)
    live.put(recordings()[1])
    with pytest.raises(RuntimeError, match="no such caption"):
        live.close()


def test_the_error_of_the_body_is_not_hidden():
    live = LiveSession(ungated(Broken()))

    def body() -> None:
        with live:
            live.put(torch.zeros(1600))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    until(lambda: not live.worker.is_alive)


def test_closed_is_closed():
    live = LiveSession(ungated())
    live.put(recordings()[1])
    live.close()
    live.close()
    assert live.session.is_finished
    with pytest.raises(RuntimeError, match="closed"):
        live.put(torch.zeros(1))


def test_discarding_leaves_the_waiting_sound_out():
    recognizer, live = held()
    for _ in range(20):
        live.put(torch.zeros(RATE))
    closing = threading.Thread(target=lambda: live.close(discard=True))
    closing.start()
    until(lambda: live._is_closing)
    recognizer.go.set()
    closing.join(20)
    assert recognizer.heard == 1600
    assert not live.session.is_finished


def test_closing_from_the_callback_is_refused():
    errors = []

    def on_event(_: Event) -> None:
        try:
            live.close()
        except RuntimeError as error:
            errors.append(str(error))

    live = LiveSession(ungated(), on_event=on_event)
    live.put(recordings()[1])
    live.close()
    assert errors
    assert "wait for itself" in errors[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_seconds": 0}, "max_seconds is 0"), ({"policy": "wait"}, "policy is 'wait'")],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LiveSession(ungated(), **options)


def test_impossible_sound_is_refused_where_it_is_put():
    with LiveSession(ungated(), max_seconds=1.0) as live:
        for wav, rate, message in (
            (torch.zeros(5, 5, 5), None, "shape"),
            (torch.zeros(5), 3, "sample_rate is 3"),
            (torch.zeros(2 * RATE), None, "more than the queue of 1 s"),
        ):
            with pytest.raises(ValueError, match=message):
                live.put(wav, rate)
        assert live.put(torch.zeros(RATE))


def test_many_threads_at_once():
    """Each of four threads puts ones of its own until they are taken; none is lost or doubled."""
    recognizer = Held()
    recognizer.go.set()
    told: list[Event] = []
    live = LiveSession(ungated(recognizer), max_seconds=2.0)
    taken = [0, 0, 0, 0]

    def put(place: int) -> None:
        generator = torch.Generator().manual_seed(place)
        for _ in range(300):
            size = int(torch.randint(0, 900, (), generator=generator))
            while not live.put(torch.randn(size, generator=generator)):
                time.sleep(0.0005)
            taken[place] += size
            assert 0 <= live.behind <= 3.1
            assert live.stats.audio_seconds >= 0

    def read() -> None:
        told.extend(live.events())

    threads = [threading.Thread(target=put, args=(place,)) for place in range(4)]
    reader = threading.Thread(target=read)
    for thread in [*threads, reader]:
        thread.start()
    for thread in threads:
        thread.join(60)
    live.close()
    reader.join(20)
    assert recognizer.heard == sum(taken)
    assert live.stats.audio_seconds == pytest.approx(sum(taken) / RATE)
    times = [event.audio_time for event in told]
    assert told
    assert times == sorted(times)

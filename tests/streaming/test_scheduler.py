"""Many streams on one worker: each is told what it is told alone, and none disturbs another."""

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from energy_words import EnergyState, EnergyWords
from live_signals import RATE, recordings, vad
from random_whisper import random_whisper
from streaming_laws import comparable
from torch import Tensor

from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.streaming import state as states
from echoic.streaming.admission import AdmissionConfig
from echoic.streaming.busy import Busy
from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.scheduler import Scheduler, SchedulerConfig
from echoic.streaming.session import Session, SessionConfig
from echoic.streaming.stream import Stream
from echoic.streaming.worker import RoundConfig

UNGATED = SessionConfig(GateConfig(enabled=False))


def scheduler(**rounds: Any) -> Scheduler:
    config = SchedulerConfig(RoundConfig(**rounds), AdmissionConfig(trial_streams=100))
    return Scheduler(config, vad=vad())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def whisper(dtype: str = "int8") -> CausalWhisper:
    """A random model that says something; in 8 bits company changes nothing, to the last bit."""
    config = CausalConfig(Blocks(10), show_confidence=0.0, max_window_seconds=10.0)
    return CausalWhisper(random_whisper(dtype=dtype), config)


def alone(recognizer: Any, wav: Tensor, config: SessionConfig | None = None) -> list[Event]:
    session = Session(recognizer, sample_rate=RATE, config=config, vad=vad())
    return session.feed(wav) + session.finish()


def feed_all(streams: list[Stream], wavs: list[Tensor], seed: int) -> None:
    """Put sounds in pieces of random length, now of this stream, now of that."""
    rng = random.Random(seed)
    left = list(range(len(wavs)))
    done = [0] * len(wavs)
    while left:
        number = rng.choice(left)
        size = rng.randint(1, 6000)
        assert streams[number].put(wavs[number][done[number] : done[number] + size])
        done[number] += size
        if done[number] >= len(wavs[number]):
            streams[number].finish()
            left.remove(number)
        if rng.random() < 0.1:
            time.sleep(0.002)


@pytest.mark.parametrize("config", [None, UNGATED], ids=["gated", "ungated"])
def test_each_stream_is_told_what_it_is_told_alone(config: SessionConfig | None) -> None:
    recognizer = whisper()
    wavs = [wav[: RATE * (2 + number)] for number, wav in enumerate(recordings())]
    wavs.append(torch.zeros(RATE))
    running = scheduler(gather_ms=5.0)
    streams = [running.open(recognizer, sample_rate=RATE, config=config) for _ in wavs]
    feed_all(streams, wavs, seed=1)
    told = [[*stream.events()] for stream in streams]
    assert max(running.stats.batches) > 2  # they did have company
    running.close()
    expected = [alone(recognizer, wav, config) for wav in wavs]
    assert sum(map(len, expected)) > 20
    for found, wanted in zip(told, expected, strict=True):
        assert comparable(found) == comparable(wanted)


def test_in_floats_the_text_is_the_same() -> None:
    recognizer = whisper("float32")
    wavs = [wav[: 3 * RATE] for wav in recordings()]
    running = scheduler(gather_ms=5.0)
    streams = [running.open(recognizer, sample_rate=RATE, config=UNGATED) for _ in wavs]
    feed_all(streams, wavs, seed=2)
    told = [[event.text for event in stream.events()] for stream in streams]
    running.close()
    assert told == [[event.text for event in alone(recognizer, wav, UNGATED)] for wav in wavs]


def test_recognisers_of_different_blocks_share_a_batch() -> None:
    model = random_whisper(dtype="int8")
    first = CausalWhisper(model, CausalConfig(Blocks(10)))
    both = [first, CausalWhisper(model, CausalConfig(Blocks(16)), engines=first.engines)]
    wav = recordings()[0][: 3 * RATE]
    running = scheduler()
    streams = [running.open(one, sample_rate=RATE, config=UNGATED) for one in both]
    feed_all(streams, [wav, wav], seed=3)
    told = [[*stream.events()] for stream in streams]
    running.close()
    for one, found in zip(both, told, strict=True):
        assert comparable(found) == comparable(alone(one, wav, UNGATED))


class Broken(EnergyWords):
    def step(self, state: EnergyState, wav: Tensor) -> tuple[EnergyState, list[Event]]:
        raise OSError("the model's file is gone")


def test_a_stream_that_fails_ends_alone() -> None:
    ends: list[Exception | None] = []
    running = scheduler(gather_ms=0.0)
    good = running.open(EnergyWords(), sample_rate=RATE, config=UNGATED)
    bad = running.open(Broken(), sample_rate=RATE, config=UNGATED, on_end=ends.append)
    wav = recordings()[0]
    good.put(wav[:RATE])
    bad.put(wav[:RATE])
    until(lambda: bool(ends))
    assert isinstance(ends[0], OSError)
    with pytest.raises(RuntimeError, match="file is gone"):
        bad.put(wav[:1])
    good.put(wav[RATE:])
    good.close()
    assert comparable(good.poll()) == comparable(alone(EnergyWords(), wav, UNGATED))
    assert running.stats.streams == 0
    running.close()


def test_a_listener_that_fails_ends_its_stream_alone() -> None:
    def refuse(_: Event) -> None:
        raise KeyError("no such caption")

    running = scheduler(gather_ms=0.0)
    bad = running.open(EnergyWords(), sample_rate=RATE, config=UNGATED, on_event=refuse)
    good = running.open(EnergyWords(), sample_rate=RATE, config=UNGATED)
    for stream in (bad, good):
        stream.put(recordings()[1])
    with pytest.raises(RuntimeError, match="no such caption"):
        bad.close()
    good.close()
    assert good.poll()
    running.close()


class Held(EnergyWords):
    """Works only when it is let, and notes who was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.heard: list[float] = []

    def step(self, state: EnergyState, wav: Tensor) -> tuple[EnergyState, list[Event]]:
        assert self.go.wait(20)
        self.heard.append(float(wav[0, 0]))
        return super().step(state, wav)


def test_those_who_wait_longest_come_first_and_nobody_takes_two_turns() -> None:
    recognizer = Held()
    running = scheduler(gather_ms=0.0, max_batch=2, piece_seconds=0.05)
    streams = [running.open(recognizer, sample_rate=RATE, config=UNGATED) for _ in range(4)]
    for number in (2, 0, 3, 1):
        for _ in range(3):
            streams[number].put(torch.full((800,), number / 10))
    recognizer.go.set()
    for stream in streams:
        stream.close()
    running.close()
    order = [round(10 * value) for value in recognizer.heard]
    assert sorted(order) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert order[0] == 2  # alone in the first round, as nobody else was there
    assert set(order[:6]) == {0, 1, 2, 3}
    for number in range(4):
        places = [place for place, other in enumerate(order) if other == number]
        assert all(b - a <= 5 for a, b in itertools.pairwise(places))


def test_without_room_a_stream_is_refused_and_the_others_go_on() -> None:
    running = Scheduler(
        SchedulerConfig(RoundConfig(gather_ms=0.0), AdmissionConfig(max_streams=2)), vad=vad()
    )
    streams = [running.open(EnergyWords(), sample_rate=RATE, config=UNGATED) for _ in range(2)]
    with pytest.raises(Busy, match="2 streams are open and 2 fit") as info:
        running.open(EnergyWords(), sample_rate=RATE)
    assert info.value.retry_after > 0
    assert (running.stats.streams, running.stats.refused) == (2, 1)
    streams[0].put(recordings()[0])
    streams[0].close()
    until(lambda: running.stats.streams == 1)
    again = running.open(EnergyWords(), sample_rate=RATE, config=UNGATED)
    again.close()
    streams[1].close()
    running.close()
    assert streams[0].poll()


def test_a_checkpoint_says_what_it_has_heard_and_another_scheduler_goes_on(tmp_path) -> None:
    recognizer, wav = whisper(), recordings()[0]
    first = scheduler(gather_ms=0.0)
    stream = first.open(recognizer, sample_rate=RATE, config=UNGATED)
    for piece in wav[: 2 * RATE].split(1111):
        stream.put(piece)
    stream.snapshot()
    state, samples = stream.checkpoint()
    assert samples == 2 * RATE
    before = stream.poll()
    states.save(tmp_path / "stream", state)
    first.close()
    with pytest.raises(RuntimeError, match="scheduler was closed"):
        stream.put(wav[:1])

    fresh = Session(recognizer, sample_rate=RATE, config=UNGATED, vad=vad())
    loaded = states.load(tmp_path / "stream", fresh.snapshot())
    second = scheduler(gather_ms=0.0)
    resumed = second.open(recognizer, sample_rate=RATE, config=UNGATED, state=loaded)
    resumed.put(wav[samples:])
    resumed.close()
    told = comparable(before + resumed.poll())
    second.close()
    assert told == comparable(alone(recognizer, wav, UNGATED))


def test_a_closed_scheduler_tells_its_streams() -> None:
    ends: list[Exception | None] = []
    running = scheduler()
    stream = running.open(EnergyWords(), sample_rate=RATE, config=UNGATED, on_end=ends.append)
    running.close()
    assert "closed" in str(ends[0])
    with pytest.raises(RuntimeError, match="closed"):
        stream.close()
    with pytest.raises(RuntimeError, match="closed"):
        running.open(EnergyWords(), sample_rate=RATE, config=UNGATED)


def test_sound_waits_for_company_but_not_for_long() -> None:
    running = scheduler(gather_ms=60.0)
    talking, _ = (running.open(EnergyWords(), sample_rate=RATE, config=UNGATED) for _ in range(2))
    began = time.perf_counter()
    talking.put(torch.zeros(160))
    until(lambda: talking.behind == 0.0)
    assert time.perf_counter() - began >= 0.055
    assert running.stats.batches == {1: 1}
    running.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RoundConfig(gather_ms=-1), "gather_ms is -1"),
        (lambda: RoundConfig(piece_seconds=0), "piece_seconds is 0"),
        (lambda: RoundConfig(max_batch=0), "max_batch is 0"),
        (lambda: AdmissionConfig(max_streams=0), "max_streams is 0"),
        (lambda: AdmissionConfig(most_load=0), "most_load is 0"),
        (lambda: AdmissionConfig(round_seconds=0), "round_seconds is 0"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

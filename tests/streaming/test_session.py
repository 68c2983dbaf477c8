"""Live sessions: sound of every kind in, events in the time of the stream out."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from energy_words import EnergyWords
from live_signals import DATA, RATE, quick_gate, recordings, vad
from streaming_laws import comparable, random_chunks
from torch import Tensor

from echoic.audio.resample import Resampler
from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.session import Session, SessionConfig

PAUSE = torch.zeros(RATE)


def session(rate: int = RATE, gate: GateConfig | None = None, **options: Any) -> Session[Any]:
    config = SessionConfig(gate or quick_gate())
    return Session(EnergyWords(), sample_rate=rate, config=config, vad=vad(), **options)


def talk() -> Tensor:
    """Return three sentences between pauses, about 15 s."""
    parts = [p for i in (1, 4, 2) for p in (PAUSE, recordings()[i])]
    return torch.cat([*parts, PAUSE, PAUSE])


def hear(live: Session[Any], wav: Tensor, sizes: list[int] | None = None) -> list[Event]:
    parts = wav.split(sizes or [wav.shape[-1]], dim=-1)
    return [event for part in parts for event in live.feed(part)] + live.finish()


def said(events: list[Event]) -> list[str]:
    return [word.text for event in events if event.type == "final" for word in event.words]


def test_events_are_in_the_time_of_the_stream():
    events = hear(session(), talk())
    kinds = [event.type for event in events]
    assert kinds.count("endpoint") >= 3
    assert all(kinds[i - 1] == "final" for i, kind in enumerate(kinds) if kind == "endpoint")
    begins = [1.0, 2.0 + 2.99, 3.0 + 2.99 + 3.29]
    starts = [event.start for event in events if event.type == "partial"]
    for begin in begins:
        assert min(abs(start - begin) for start in starts) < 0.5
    times = [event.audio_time for event in events]
    assert times == sorted(times)
    assert all(event.end <= event.audio_time + 1e-6 for event in events)
    assert times[-1] < len(talk()) / RATE


def test_stable_words_stay_until_they_are_final():
    promised: list[str] = []
    for event in hear(session(), talk()):
        words = [word.text for word in event.words]
        if event.type == "endpoint":
            assert promised == []
        elif event.type == "final":
            assert words[: len(promised)] == promised
            promised = []
        else:
            assert words[: len(promised)] == promised
            promised = words[: event.stable]


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_events_do_not_depend_on_how_sound_of_any_rate_is_cut(rate):
    wav = Resampler(RATE, rate)(talk()[: 9 * RATE])
    whole = hear(session(rate), wav)
    assert said(whole)
    for seed in (1, 2):
        sizes = random_chunks(len(wav), seed)
        sizes[-1] += len(wav) - sum(sizes)
        assert comparable(hear(session(rate), wav, sizes)) == comparable(whole)


def test_single_samples_and_empty_chunks():
    wav = recordings()[1][: RATE // 2]
    whole = hear(session(gate=GateConfig(enabled=False)), wav)
    sizes = [size for _ in range(len(wav)) for size in (1, 0)]
    assert whole
    one_by_one = hear(session(gate=GateConfig(enabled=False)), wav, sizes)
    assert comparable(one_by_one) == comparable(whole)


def test_kinds_of_sound():
    wav = (recordings()[1] * 32768).round() / 32768
    expected = comparable(hear(session(), wav))
    forms: list[Any] = [
        wav[None],
        wav.numpy(),
        wav.double(),
        (wav * 32768).to(torch.int16),
        (wav * 32768).to(torch.int16).numpy(),
        np.stack([wav, wav]),
        wav.flip(0).numpy()[::-1],
    ]
    for form in forms:
        live = session()
        assert comparable(live.feed(form) + live.finish()) == expected


@pytest.mark.parametrize(
    ("wav", "error", "message"),
    [
        (torch.zeros(4800, 2), ValueError, "transpose"),
        (torch.zeros(1, 1, 5), ValueError, r"shape \(1, 1, 5\)"),
        (torch.tensor(0.5), ValueError, r"shape \(\)"),
        (torch.zeros(5, dtype=torch.int32), TypeError, "int32, expected floats"),
        ([0.1, 0.2], TypeError, "wav is a list"),
    ],
)
def test_what_is_no_sound_is_refused_and_changes_nothing(wav, error, message):
    live = session()
    before = live.snapshot()
    with pytest.raises(error, match=message):
        live.feed(wav)
    assert live.snapshot() is before


def test_impossible_rates_are_refused():
    for rate in (0, -8000, 22_050.5, 10**7):
        with pytest.raises(ValueError, match="sample_rate is"):
            session(rate)  # type: ignore[arg-type]
    live = session()
    with pytest.raises(ValueError, match="sample_rate is 3"):
        live.feed(PAUSE, sample_rate=3)
    recognizer = EnergyWords()
    recognizer.sample_rate = 8000
    with pytest.raises(ValueError, match=r"8000 Hz and the gate 16000.*enabled to False"):
        Session(recognizer, sample_rate=8000)


def test_numbers_that_are_none_count_as_silence():
    clean = torch.cat([PAUSE, recordings()[1], PAUSE])
    broken = clean.clone()
    broken[100:200] = torch.nan
    broken[300], broken[301] = torch.inf, -torch.inf
    live = session()
    assert comparable(hear(live, broken)) == comparable(hear(session(), clean))
    assert (live.stats.replaced_samples, live.stats.clipped_samples) == (102, 0)


def test_clipped_and_offset_speech_is_heard():
    loud = torch.cat([PAUSE, 20 * recordings()[1], PAUSE])
    live = session()
    assert said(hear(live, loud))
    assert live.stats.clipped_samples == int((loud.abs() > 1).sum())
    offset = session()
    assert hear(offset, torch.cat([PAUSE, recordings()[1], PAUSE]) * 0.8 + 0.1)
    assert offset.stats.utterances == 1  # to the gate; these tests' recogniser hears one long word


def test_a_sudden_change_of_rate_goes_on():
    parts = [torch.cat([PAUSE, recordings()[i], PAUSE]) for i in (1, 4)]
    live = session(48_000)
    events = live.feed(Resampler(RATE, 48_000)(parts[0]))
    events += live.feed(Resampler(RATE, 8000)(parts[1]), sample_rate=8000)
    events += live.feed(torch.zeros(2, 100), sample_rate=44_100) + live.finish()
    expected = hear(session(), torch.cat(parts))
    assert abs(live.position - sum(map(len, parts)) / RATE) < 0.01
    found = [e.start for e in events if e.type == "endpoint"]
    assert found == pytest.approx([e.start for e in expected if e.type == "endpoint"], abs=0.07)
    assert len(said(events)) >= len(said(expected)) // 2  # 8 kHz is duller


def test_a_change_of_rate_in_mid_word_does_not_end_the_utterance():
    wav = recordings()[0]
    half = len(wav) // 2 - 33
    live = session(16_000, gate=quick_gate(1.5))
    events = live.feed(wav[:half])
    events += live.feed(Resampler(RATE, 48_000)(wav[half:]), sample_rate=48_000) + live.finish()
    assert live.stats.utterances == 1
    assert events[-1].type == "final"


def test_the_end_comes_in_mid_word():
    wav = recordings()[0][: 2 * RATE + 123]
    live = session()
    events = hear(live, wav)
    assert events[-1].type == "final"
    assert events[-1].words[-1].end == pytest.approx(len(wav) / RATE, abs=0.05)
    assert events[-1].audio_time == len(wav) / RATE
    assert live.finish() == []
    with pytest.raises(RuntimeError, match="call reset"):
        live.feed(wav)
    live.reset()
    assert comparable(hear(live, wav)) == comparable(events)


def test_a_gap_ends_the_utterance_and_keeps_the_time():
    live = session()
    first = live.feed(recordings()[0][: 2 * RATE])
    first += live.skip(100.0)
    assert first[-1].type == "final"
    assert first[-1].audio_time == 2.0
    second = live.feed(recordings()[0][: 2 * RATE]) + live.finish()
    assert live.position == 104.0
    assert live.stats.skipped_seconds == 100.0
    assert live.stats.audio_seconds == 4.0
    moved = [event.shifted(-102.0) for event in second]
    alone = session()
    expected = hear(alone, recordings()[0][: 2 * RATE])
    assert [e.text for e in moved] == [e.text for e in expected]
    assert [e.start for e in moved] == pytest.approx([e.start for e in expected])
    with pytest.raises(ValueError, match="seconds is -1"):
        session().skip(-1)


def test_without_the_gate_all_is_one_utterance():
    live = session(gate=GateConfig(enabled=False))
    events = hear(live, talk())
    assert live.stats.utterances == 1
    assert "endpoint" not in {event.type for event in events}
    assert events[-1].audio_time == len(talk()) / RATE


def test_a_snapshot_is_a_value():
    live = session()
    wav = talk()
    live.feed(wav[: 3 * RATE])
    kept = live.snapshot()
    futures = [hear(live, wav[3 * RATE :])]
    for other in (live, session()):
        other.restore(kept)
        futures.append(hear(other, wav[3 * RATE :]))
    assert comparable(futures[0]) == comparable(futures[1]) == comparable(futures[2])
    with pytest.raises(TypeError, match="state is a str"):
        live.restore("state")  # type: ignore[arg-type]


CONTINUE = """
import json, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/streaming"]
import streaming_laws
from test_session import session, talk
live = session(48_000)
live.load({path!r})
events = live.feed(talk()[{cut}:], sample_rate=16_000) + live.finish()
print(json.dumps([streaming_laws.comparable(events), live.stats.utterances]))
"""


def test_another_process_continues_with_the_same_events(tmp_path: Path):
    live, cut = session(48_000), 3 * RATE + 7
    path = tmp_path / "live.state"
    live.feed(talk()[:cut], sample_rate=16_000)
    live.save(path)
    expected = live.feed(talk()[cut:], sample_rate=16_000) + live.finish()
    script = CONTINUE.format(tests=str(DATA.parent), path=str(path), cut=cut)
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, check=True, timeout=100, capture_output=True).stdout
    utterances = live.stats.utterances
    assert json.loads(output) == json.loads(json.dumps([comparable(expected), utterances]))
    assert said(expected)


def test_another_kind_of_file_is_refused(tmp_path: Path):
    (tmp_path / "text").write_text("hello")
    live = session()
    with pytest.raises(ValueError, match="not a saved state"):
        live.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        live.load(tmp_path / "none")


class Ticks:
    """A clock that goes on by 1 ms each time it is read."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def __call__(self) -> float:
        return next(self._count) / 1000


def test_time_is_read_from_the_clock():
    live = session(clock=Ticks())
    events = live.feed(talk())
    stats = live.stats
    assert stats.audio_seconds == len(talk()) / RATE
    assert stats.rtf == pytest.approx(stats.compute_seconds / stats.audio_seconds)
    assert stats.chunks > 100
    # One reading for every block of 50 ms.
    assert stats.chunk_ms_p50 == pytest.approx(1.0, rel=0.05)
    assert {round(e.compute_ms) for e in events if e.type == "partial"} == {1}
    assert stats.first_word_latency is not None
    assert 0.03 < stats.first_word_latency < 0.6


def test_percentiles():
    tally = session().snapshot().tally
    for milliseconds in range(1, 101):
        tally = tally.with_chunk(float(milliseconds))
    stats = tally.stats(10.0)
    assert stats.chunk_ms_p50 == pytest.approx(50, rel=0.05)
    assert stats.chunk_ms_p95 == pytest.approx(95, rel=0.05)
    assert (stats.chunk_ms_max, stats.chunks) == (100.0, 100)
    assert tally.with_chunk(1e9).stats(1.0).chunk_ms_max == 1e9
    assert tally.with_chunk(0.0).stats(1.0).chunks == 101
    assert session().stats.to_dict()["chunk_ms_p95"] == 0.0

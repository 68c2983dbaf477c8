"""Hours of sound, as fast as they go: memory stays flat, silence says nothing."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from energy_words import EnergyWords
from live_signals import RATE, quick_gate, recordings, vad
from streaming_laws import stored_bytes
from torch import Tensor

from echoic.streaming.gate import GateConfig
from echoic.streaming.session import Session, SessionConfig

STATM = Path("/proc/self/statm")
linux = pytest.mark.skipif(not STATM.exists(), reason="reads the memory of a Linux process")
CHUNK = RATE * 8 // 25  # 320 ms


def resident_mb() -> float:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def session(gate: GateConfig, rate: int = RATE) -> Session[Any]:
    return Session(EnergyWords(), sample_rate=rate, config=SessionConfig(gate), vad=vad())


def chunks(seconds: float) -> Iterator[Tensor]:
    """Yield sentences with pauses, over and over, in pieces of 320 ms."""
    pause = torch.zeros(RATE)
    once = torch.cat([part for wav in recordings() for part in (wav, pause)])
    start = 0
    for _ in range(round(seconds * RATE / CHUNK)):
        rows = torch.arange(start, start + CHUNK) % len(once)
        yield once[rows]
        start += CHUNK


def run(live: Session[Any], seconds: float) -> tuple[int, float, int]:
    """Hear so much; return the words that were final, CPU seconds, and the state's bytes."""
    words = largest = 0
    began = time.process_time()
    for count, chunk in enumerate(chunks(seconds)):
        for event in live.feed(chunk):
            words += len(event.words) if event.type == "final" else 0
        if count % 10 == 0:
            largest = max(largest, stored_bytes(live.snapshot()))
    return words, time.process_time() - began, largest


def check_flat(gate: GateConfig, minutes: float, growth_mb: float) -> tuple[float, float]:
    """Hear a minute, then all of it; return CPU seconds per minute of both."""
    live = session(gate)
    _, early, small = run(live, 60)
    before = resident_mb()
    words, late, large = run(live, 60 * (minutes - 1))
    assert resident_mb() - before < growth_mb
    assert large <= 1.5 * small
    assert words > 20 * minutes
    assert live.stats.audio_seconds == pytest.approx(60 * minutes, abs=1)
    assert live.stats.utterances == 1 or live.stats.utterances > 10 * minutes
    return early, late / (minutes - 1)


@linux
@pytest.mark.parametrize("enabled", [True, False], ids=["gated", "one utterance"])
def test_five_minutes_leave_nothing_behind(enabled):
    check_flat(quick_gate(enabled=enabled), 5, growth_mb=6)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("enabled", [True, False], ids=["gated", "one utterance"])
def test_three_hours_leave_nothing_behind(enabled):
    early, late = check_flat(quick_gate(enabled=enabled), 180, growth_mb=6)
    assert late < 1.5 * early  # of a machine that others use; nothing may grow


def test_minutes_of_silence_are_no_utterance():
    live = session(GateConfig())
    hiss = 1e-4 * torch.randn(60 * RATE, generator=torch.Generator().manual_seed(0))
    for minute in range(3):
        assert live.feed(hiss if minute % 2 else torch.zeros(60 * RATE)) == []
    assert live.finish() == []
    stats = live.stats
    assert (stats.utterances, stats.chunks, stats.audio_seconds) == (0, 0, 180.0)
    assert stats.first_word_latency is None

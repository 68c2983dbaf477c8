"""Live recognition: processor time for a second of sound, on one thread, against LocalAgreement.

Times are processor seconds of this process, so that a busy machine changes them little; they are
printed, never judged. What fails is text that is far from the rivals', or a late chunk that costs
much more than an early one.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.agreement_rival import AgreementRival
from benchmarks.measure import Say, align, score
from benchmarks.rows import Row, join_rows
from benchmarks.settings import Settings
from benchmarks.weights import Weights
from torch import Tensor

from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.audio.io import load
from echoic.streaming.session import Session

pytestmark = pytest.mark.timeout(0)  # none

SAMPLE_RATE = 16_000
CHUNK_MS = 320
RIVAL_CHUNK_MS = 1000
# Of a minute's words, so many more may be wrong than with LocalAgreement in chunks of a second.
TOLERANCE = 0.20


@dataclass
class Streamed:
    """One system on one recording."""

    name: str
    chunk_ms: float
    costs: list[float]
    text: str
    seconds: float
    first: float | None

    @property
    def rtf(self) -> float:
        """Processor seconds for a second of sound."""
        return sum(self.costs) / self.seconds


def test_cost(
    rows: list[Row], weights: Weights, settings: Settings, say: Say, tmp_path: Path
) -> None:
    """The causal model against LocalAgreement with the same weights."""
    long = join_rows(rows, tmp_path / "long.flac", 60 * settings.minutes)
    wav = load(long.audio, sample_rate=SAMPLE_RATE, mono=True)[0]
    with _one_thread():
        results = [
            _ours("causal float32", wav, "causal", "float32", CHUNK_MS, settings),
            _ours("causal auto", wav, "causal", "auto", CHUNK_MS, settings),
            _ours("agreement", wav, "agreement", "auto", RIVAL_CHUNK_MS, settings),
            _ours("agreement", wav, "agreement", "auto", CHUNK_MS, settings),
        ]
        for chunk_ms in (RIVAL_CHUNK_MS,):
            results += _faster_whisper(weights, wav, chunk_ms)
    say(f"\nlive: {long.seconds:.0f} s of single utterances with pauses, one thread\n")
    say(_table(results, long.text, reference=results[-1]))
    ours, best = score([long.text], [results[0].text]), score([long.text], [results[2].text])
    assert ours.rate <= best.rate + TOLERANCE


def test_late_chunks(rows: list[Row], settings: Settings, say: Say, tmp_path: Path) -> None:
    """A chunk in the last minute of an hour costs what one in the first does."""
    minutes = 6 * settings.minutes
    long = join_rows(rows, tmp_path / "long.flac", 60 * minutes)
    wav = load(long.audio, sample_rate=SAMPLE_RATE, mono=True)[0]
    with _one_thread():
        heard = _ours("causal auto", wav, "causal", "auto", CHUNK_MS, settings)
    minute = round(60_000 / CHUNK_MS)
    early, late = heard.costs[minute : 2 * minute], heard.costs[-minute:]
    ratio = statistics.mean(late) / statistics.mean(early)
    say(f"\nminute {minutes:.0f} costs {ratio:.2f} of minute 1\n")
    assert ratio < 1.5


def _ours(
    name: str, wav: Tensor, policy: Any, dtype: str, chunk_ms: int, settings: Settings
) -> Streamed:
    recognizer = load_recognizer(settings.model, policy=policy, chunk_ms=chunk_ms, dtype=dtype)
    session = Session(recognizer, sample_rate=SAMPLE_RATE)
    warm = Session(recognizer, sample_rate=SAMPLE_RATE)
    warm.feed(wav[:, : 3 * SAMPLE_RATE])
    warm.finish()
    finals: list[str] = []
    first: list[float] = []

    def feed(chunk: Tensor) -> None:
        for event in session.feed(chunk):
            if event.words and not first:
                first.append(event.audio_time)
            if event.type == "final":
                finals.append(event.text)

    costs = _timed(feed, wav, chunk_ms)
    finals += [event.text for event in session.finish() if event.type == "final"]
    seconds = wav.shape[1] / SAMPLE_RATE
    return Streamed(name, chunk_ms, costs, " ".join(finals), seconds, first[0] if first else None)


def _faster_whisper(weights: Weights, wav: Tensor, chunk_ms: int) -> list[Streamed]:
    whisper = pytest.importorskip("faster_whisper")
    found = []
    for kind, folder in (("int8", weights.ct2_int8), ("float32", weights.ct2_float32)):
        model = whisper.WhisperModel(str(folder), device="cpu", compute_type=kind, cpu_threads=1)
        rival = AgreementRival(model)
        costs = _timed(lambda chunk, r=rival: r.feed(chunk[0].numpy()), wav, chunk_ms)
        rival.finish()
        first = rival.committed[0][1] if rival.committed else None
        name = f"LocalAgreement-2, faster-whisper {kind}"
        found.append(Streamed(name, chunk_ms, costs, rival.text, wav.shape[1] / SAMPLE_RATE, first))
    return found


def _timed(feed: Callable[[Tensor], None], wav: Tensor, chunk_ms: int) -> list[float]:
    size = chunk_ms * SAMPLE_RATE // 1000
    costs = []
    gc.collect()
    for start in range(0, wav.shape[1], size):
        begin = time.process_time()
        feed(wav[:, start : start + size])
        costs.append(time.process_time() - begin)
    return costs


def _table(results: list[Streamed], text: str, reference: Streamed) -> str:
    lines = [
        ["system", "chunk ms", "CPU s / s", "p50 ms", "p95 ms", "max ms", "WER %", "x cheaper"]
    ]
    for one in results:
        costs = sorted(one.costs)
        lines.append(
            [
                one.name,
                f"{one.chunk_ms:.0f}",
                f"{one.rtf:.3f}",
                *(f"{1000 * costs[int(q * (len(costs) - 1))]:.0f}" for q in (0.5, 0.95, 1.0)),
                f"{100 * score([text], [one.text]).rate:.1f}",
                f"{reference.rtf / one.rtf:.1f}",
            ]
        )
    return align(lines)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""How many live streams one machine hears: real speech, real time, words within a second.

A system hears N microphones at once if 95 % of the right words are shown within a second after
their end, and if at the end it is no more than a second behind. The largest N is looked for by
doubling and halving. Nothing is judged but that each stream's text is the same as alone.
"""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from benchmarks.live_systems import System, agreement, batched, threads
from benchmarks.measure import Say, align
from benchmarks.microphones import (
    NORMALIZE,
    SAMPLE_RATE,
    Microphone,
    Played,
    lags,
    microphone,
    play,
    utterances,
)
from benchmarks.rows import Row
from benchmarks.settings import Settings
from benchmarks.weights import Weights

from echoic.asr.metrics import word_error_rate
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.reference_times import ReferenceAligner
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.streaming.session import Session

pytestmark = pytest.mark.timeout(0)  # none

SECONDS = float(os.environ.get("ECHOIC_BENCH_STREAM_SECONDS", "20"))
MOST = int(os.environ.get("ECHOIC_BENCH_STREAMS", "64"))
LATEST, FARTHEST = 1.0, 1.0  # seconds: of the 95th percentile of words, and of sound that waits
POOL_SECONDS = 120.0


class Run(NamedTuple):
    """A system with so many microphones.

    Attributes:
        streams: how many.
        p50: half of all right words are shown so many seconds after their end.
        p95: 95 % are.
        behind: seconds of sound that waited at the end, of the stream that was furthest behind.
        errors: word error rate.
    """

    streams: int
    p50: float
    p95: float
    behind: float
    errors: float

    @property
    def keeps_up(self) -> bool:
        return self.behind <= FARTHEST

    @property
    def is_prompt(self) -> bool:
        return self.keeps_up and self.p95 <= LATEST


def test_streams(rows: list[Row], weights: Weights, settings: Settings, say: Say) -> None:
    """The largest number of streams of each system."""
    torch.set_num_threads(1)
    offline = WhisperModel.from_pretrained("tiny.en", dtype="float32")
    pool = utterances(rows, ReferenceAligner(offline), POOL_SECONDS)
    microphones = [microphone(pool, SECONDS, seed) for seed in range(MOST)]
    recognizer = load_recognizer(settings.model)
    say(f"\nserving: {SECONDS:.0f} s into each microphone, {len(pool)} utterances to draw from\n")
    found: dict[str, list[Run]] = {}
    played: list[Played] = []
    for system in (batched(recognizer), threads(recognizer)):
        found[system.name], last = climb(system, microphones, say)
        played = played or last
        system.close()
    pytest.importorskip("faster_whisper")
    system = agreement(weights.ct2_int8, settings.threads)
    found[system.name], _ = climb(system, microphones, say)
    say(_table(found))
    assert_as_alone(recognizer, microphones, played)


def climb(
    system: System, microphones: Sequence[Microphone], say: Say
) -> tuple[list[Run], list[Played]]:
    """Double the streams until they are too many, then halve the distance; return all runs."""
    run(system, microphones[:1])  # what is done but once
    runs: list[Run] = []
    kept: list[Played] = []
    good, bad = 0, len(microphones) + 1
    number = 2
    while bad - good > max(1, good // 12) and number <= len(microphones):
        one, played = run(system, microphones[:number])
        runs.append(one)
        say(
            f"{system.name}, {number}: p50 {one.p50:.2f} s, p95 {one.p95:.2f} s, "
            f"behind {one.behind:.2f} s, WER {100 * one.errors:.1f} %"
        )
        if one.is_prompt:
            good, kept = number, played
        else:
            bad = number
        number = good + (bad - good) // 2 if bad <= len(microphones) else 2 * number
        if bad == number or number == good:
            break
    return runs, kept


def run(system: System, microphones: Sequence[Microphone]) -> tuple[Run, list[Played]]:
    """Speak into microphones."""
    played = play(system.open, microphones)
    found = lags(played)
    errors = word_error_rate(
        [NORMALIZE(" ".join(w.text for w in one.words)) for one in microphones],
        [NORMALIZE(one.text) for one in played],
    )

    def at(share: float) -> float:
        return found[min(len(found) - 1, int(share * len(found)))] if found else math.inf

    behind = max(one.behind for one in played)
    return Run(len(microphones), at(0.5), at(0.95), behind, errors.rate), played


def assert_as_alone(
    recognizer: object, microphones: Sequence[Microphone], played: Sequence[Played]
) -> None:
    """Nothing is lost, and company changes no word."""
    for one, run_of_it in zip(microphones, played, strict=False):
        session = Session(recognizer, sample_rate=SAMPLE_RATE)  # pyright: ignore[reportArgumentType]
        events = session.feed(one.wav) + session.finish()
        assert run_of_it.text == " ".join(e.text for e in events if e.type == "final")


def _table(found: dict[str, list[Run]]) -> str:
    names = list(found)
    most = {name: max((r.streams for r in found[name] if r.is_prompt), default=0) for name in names}
    able = {name: max((r.streams for r in found[name] if r.keeps_up), default=0) for name in names}
    lines = [["system", "streams, words in 1 s", "streams kept up with", "ours over it"]]
    for name in names:
        # Who shows no word in time at all is compared by what it keeps up with, be it one stream.
        theirs = most[name] or max(able[name], 1)
        ratio = f"{most[names[0]] / theirs:.1f}"
        lines.append([name, str(most[name]), str(able[name]), ratio])
    return align(lines)

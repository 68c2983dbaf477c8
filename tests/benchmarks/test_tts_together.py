"""Requests spoken together beside as many threads, each of which speaks one alone.

Both do the same work and say the same. Time is printed, never judged.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import torch
from benchmarks.clock import threads
from benchmarks.measure import Say, align, machine
from benchmarks.settings import Settings
from torch import Tensor

from echoic.tts.lm.packed import fitting_arithmetic
from echoic.tts.speech_scheduler import SpeechScheduler
from echoic.tts.synthesizer import AudioChunk, Synthesizer
from echoic.tts.talker import Talker

pytestmark = pytest.mark.timeout(0)  # none

COUNTS = (1, 4, 8)
TEXTS = (
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "She sells sea shells by the sea shore in the morning sun.",
    "A journey of a thousand miles begins with a single step, he said.",
    "All that glitters is not gold, and not all who wander are lost.",
)

Speak = Callable[[int], Iterator[AudioChunk]]


class Spoken(NamedTuple):
    """What a way to speak took for some requests at once.

    Attributes:
        wall: seconds.
        cpu: seconds of all processors.
        first: seconds to the first sound, the median of the requests.
        wavs: what each of them heard.
    """

    wall: float
    cpu: float
    first: float
    wavs: list[Tensor]


def listen(speak: Speak, count: int) -> Spoken:
    """Ask for so many texts at once, and hear them all."""

    def one(number: int) -> tuple[float, Tensor]:
        began, first, parts = time.perf_counter(), 0.0, []
        for chunk in speak(number):
            first = first or time.perf_counter() - began
            parts.append(chunk.wav)
        return first, torch.cat(parts)

    with ThreadPoolExecutor(count) as pool:
        wall, cpu = time.perf_counter(), time.process_time()
        heard = list(pool.map(one, range(count)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Spoken(wall, cpu, statistics.median(first for first, _ in heard), [w for _, w in heard])


def test_requests_together_and_a_thread_each(settings: Settings, say: Say) -> None:
    """The talker in the box, one of torch's threads in each of Python's."""
    synthesizer = Synthesizer(Talker.from_pretrained())
    columns = "requests|x real time|alone in threads|ratio|ratio of cpu|first ms|in threads"
    lines: list[Sequence[str]] = [columns.split("|")]
    with threads(1), SpeechScheduler(synthesizer) as scheduler:

        def apart(number: int) -> Iterator[AudioChunk]:
            return synthesizer.stream(TEXTS[number % len(TEXTS)], seed=number)

        def together(number: int) -> Iterator[AudioChunk]:
            return scheduler.speak(TEXTS[number % len(TEXTS)], seed=number)

        listen(apart, 1)
        for count in COUNTS:
            pairs: list[tuple[Spoken, Spoken]] = []
            for _ in range(settings.runs):
                pairs.append((listen(together, count), listen(apart, count)))
                for one, other in zip(pairs[-1][0].wavs, pairs[-1][1].wavs, strict=True):
                    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
            seconds = sum(len(wav) for wav in pairs[0][0].wavs) / synthesizer.sample_rate
            middle = statistics.median
            shown = [
                f"{seconds / middle(ours.wall for ours, _ in pairs):.1f}",
                f"{seconds / middle(theirs.wall for _, theirs in pairs):.1f}",
                f"{middle(theirs.wall / ours.wall for ours, theirs in pairs):.2f}",
                f"{middle(theirs.cpu / ours.cpu for ours, theirs in pairs):.2f}",
                f"{1000 * middle(ours.first for ours, _ in pairs):.0f}",
                f"{1000 * middle(theirs.first for _, theirs in pairs):.0f}",
            ]
            lines.append([str(count), *shown])
    say(
        f"## speech, requests together against a thread each; {fitting_arithmetic()}, "
        f"{settings.runs} pairs, medians\n{machine(['torch'])}\n{align(lines)}"
    )

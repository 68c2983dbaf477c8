"""Simulated microphones: real speech with known word times, and what arrives while it is played."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from benchmarks.rows import PAUSE_NOISE, Row
from torch import Tensor

from echoic.asr.latency.log import Feed, StreamLog
from echoic.asr.latency.recording import Measurement, Reference, measure
from echoic.asr.latency.tokens import Timed, Tokenizer
from echoic.asr.text.normalizers import english
from echoic.asr.whisper.reference_times import SpokenWord
from echoic.audio.io import load
from echoic.streaming.events import Event

SAMPLE_RATE = 16_000
NORMALIZE = english()
PIECE = 1600  # samples that a microphone gives at a time
PAUSE_SECONDS = (0.3, 0.9)
Align = Callable[[Tensor, str], Sequence[Timed]]
Listener = Callable[[Event], None]


class Microphone(NamedTuple):
    """What is said into a microphone: (N,) at 16 kHz, and its words with times."""

    wav: Tensor
    words: tuple[SpokenWord, ...]


class Utterance(NamedTuple):
    """A recording with the times of its words."""

    wav: np.ndarray
    words: Sequence[Timed]


class Opened(Protocol):
    """A stream of a system."""

    def put(self, wav: Tensor, /) -> object:
        """Take (n,) samples, without waiting."""
        ...

    def close(self) -> None:
        """Hear what is left, tell the rest, and end."""
        ...

    @property
    def behind(self) -> float:
        """Seconds of sound that wait."""
        ...


@dataclass
class Played:
    """One microphone's run.

    Attributes:
        arrived: seconds since its begin, and the event, in order.
        behind: seconds of sound that waited when all was said.
        measured: lags and errors.
    """

    arrived: list[tuple[float, Event]] = field(default_factory=list)
    behind: float = 0.0
    measured: Measurement | None = None

    @property
    def text(self) -> str:
        """All finals."""
        return " ".join(event.text for _, event in self.arrived if event.type == "final")


def utterances(rows: Sequence[Row], align: Align, seconds: float) -> list[Utterance]:
    """Load recordings until there are so many seconds, and time their words."""
    found: list[Utterance] = []
    total = 0.0
    for row in rows:
        wav = load(row.audio, sample_rate=SAMPLE_RATE, mono=True).wav[0]
        if row.seconds < 20 and total < seconds:
            found.append(Utterance(wav.numpy(), align(wav, row.text)))
            total += row.seconds
    return found


def microphone(pool: Sequence[Utterance], seconds: float, seed: int) -> Microphone:
    """Say utterances in random order, with pauses, for so many seconds."""
    order, noise = random.Random(seed), np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    words: list[SpokenWord] = []
    length = 0
    while length < seconds * SAMPLE_RATE:
        said = order.choice(pool)
        pause = PAUSE_NOISE * noise.standard_normal(
            round(order.uniform(*PAUSE_SECONDS) * SAMPLE_RATE)
        )
        start = (length + len(pause)) / SAMPLE_RATE
        words += [SpokenWord(w.text, w.start + start, w.end + start) for w in said.words]
        pieces += [pause.astype(np.float32), said.wav]
        length += len(pause) + len(said.wav)
    return Microphone(torch.from_numpy(np.concatenate(pieces)), tuple(words))


def play(
    open_stream: Callable[[Listener], Opened], microphones: Sequence[Microphone]
) -> list[Played]:
    """Speak into all microphones at once, in real time; each begins at a time of its own."""
    rng = random.Random(0)
    runs = [Played() for _ in microphones]
    begin = time.perf_counter() + 0.2
    starts = [begin + rng.uniform(0, 0.5) for _ in microphones]

    def listener(number: int) -> Listener:
        def take(event: Event) -> None:
            runs[number].arrived.append((time.perf_counter() - starts[number], event))

        return take

    streams = [open_stream(listener(number)) for number in range(len(microphones))]
    due = sorted(
        (starts[number] + (at + PIECE) / SAMPLE_RATE, number, at)
        for number, one in enumerate(microphones)
        for at in range(0, len(one.wav), PIECE)
    )
    for moment, number, at in due:
        time.sleep(max(0.0, moment - time.perf_counter()))
        streams[number].put(microphones[number].wav[at : at + PIECE])
    # A machine that is too busy to put sound in time is as late as one that does not hear it.
    late = max(0.0, time.perf_counter() - due[-1][0])
    for run, stream in zip(runs, streams, strict=True):
        run.behind = late + stream.behind
    closing = [threading.Thread(target=stream.close) for stream in streams]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
    for run, one in zip(runs, microphones, strict=True):
        run.measured = _measure(run, one)
    return runs


def lags(runs: Sequence[Played]) -> list[float]:
    """Return how many seconds after its end each right word was shown, by the wall's clock."""
    return sorted(lag for run in runs if run.measured for lag in run.measured.wall.shown)


def _measure(run: Played, said: Microphone) -> Measurement:
    feeds = tuple(Feed(max(0.0, moment), 0.0, (event,)) for moment, event in run.arrived)
    text = " ".join(word.text for word in said.words)
    return measure(
        StreamLog(len(said.wav) / SAMPLE_RATE, feeds),
        Reference(text, said.words),
        chunk=0.32,
        tokenizer=Tokenizer(NORMALIZE),
    )

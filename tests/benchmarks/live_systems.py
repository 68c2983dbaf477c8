"""Ways to hear many microphones on one machine."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.agreement_rival import AgreementRival
from benchmarks.microphones import SAMPLE_RATE, Listener, Opened
from torch import Tensor

from echoic.audio.silero import SileroVad
from echoic.streaming.admission import AdmissionConfig
from echoic.streaming.events import Event, EventWord
from echoic.streaming.live import LiveSession
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.scheduler import Scheduler, SchedulerConfig
from echoic.streaming.session import Session


@dataclass(frozen=True)
class System:
    """A way to hear many.

    Attributes:
        name: for tables.
        open: begins a stream.
        close: ends all.
    """

    name: str
    open: Callable[[Listener], Opened]
    close: Callable[[], None]


def batched(recognizer: Recognizer[Any]) -> System:
    """One scheduler for all."""
    config = SchedulerConfig(admission=AdmissionConfig(trial_streams=1000, most_load=100.0))
    scheduler = Scheduler(config)

    def begin(listener: Listener) -> Opened:
        return scheduler.open(recognizer, sample_rate=SAMPLE_RATE, on_event=listener)

    return System("one scheduler", begin, scheduler.close)


def threads(recognizer: Recognizer[Any]) -> System:
    """A thread for each stream; the same model and voice activity detector for all."""
    vad = SileroVad.from_installed()

    def begin(listener: Listener) -> Opened:
        session = Session(recognizer, sample_rate=SAMPLE_RATE, vad=vad)
        return LiveSession(session, on_event=listener)

    return System("a thread a stream", begin, lambda: None)


def agreement(folder: Path, workers: int) -> System:
    """LocalAgreement-2 over faster-whisper, a thread for each stream, one model."""
    from faster_whisper import WhisperModel  # pyright: ignore[reportMissingImports]

    model = WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=workers
    )
    return System(
        "LocalAgreement-2, faster-whisper int8",
        lambda listener: _Agreement(AgreementRival(model), listener),
        lambda: None,
    )


class _Agreement:
    """Hears whatever has come, a second or more at a time, as whisper_streaming's server does."""

    def __init__(self, rival: AgreementRival, listener: Listener) -> None:
        self._rival = rival
        self._listener = listener
        self._queue: queue.Queue[Tensor | None] = queue.Queue()
        self._waiting = 0
        self._told = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def behind(self) -> float:
        return self._waiting / SAMPLE_RATE

    def put(self, wav: Tensor) -> None:
        self._waiting += len(wav)
        self._queue.put(wav)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            pieces: list[Tensor] = []
            while is_open and (sum(map(len, pieces)) < SAMPLE_RATE or not self._queue.empty()):
                piece = self._queue.get()
                if piece is None:
                    is_open = False
                else:
                    pieces.append(piece)
            if pieces:
                sound = torch.cat(pieces)
                self._rival.feed(sound.numpy())
                self._waiting -= len(sound)
                self._tell()
        self._rival.finish()
        self._tell()

    def _tell(self) -> None:
        new = self._rival.committed[self._told :]
        self._told += len(new)
        if not new:
            return
        words = tuple(EventWord(text.strip(), now, now, 1.0) for text, now in new)
        text = " ".join(word.text for word in words)
        self._listener(
            Event("final", text, words[0].start, words[-1].end, words, stable=len(words))
        )

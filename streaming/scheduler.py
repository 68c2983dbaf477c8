"""Many live streams on one machine: their steps are gathered into batches by one worker."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from echoic.audio.silero import SileroVad
from echoic.streaming import state as states
from echoic.streaming.admission import Admission, AdmissionConfig
from echoic.streaming.busy import Busy
from echoic.streaming.events import Event
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.session import Session, SessionConfig, SessionState
from echoic.streaming.sound_queue import Policy
from echoic.streaming.stream import Share, Stream
from echoic.streaming.vad_engine import VadEngine
from echoic.streaming.worker import RoundConfig, Worker

# States are weighed once in so many rounds.
_WEIGH_EVERY = 64


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """How many streams share a worker, and how.

    Attributes:
        rounds: how they share it.
        admission: how many are taken.
    """

    rounds: RoundConfig = field(default_factory=RoundConfig)
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)


class SchedulerStats(NamedTuple):
    """What a scheduler has done, and what it has before it.

    Attributes:
        streams: that are open.
        room: how many fit, by what they cost so far.
        refused: streams that were not taken.
        rounds: of work.
        batches: rounds by the number of streams in them.
        audio_seconds: sound that was heard.
        compute_seconds: time that the rounds took.
        behind_seconds: sound that waits, of the stream that is furthest behind.
    """

    streams: int
    room: int
    refused: int
    rounds: int
    batches: dict[int, int]
    audio_seconds: float
    compute_seconds: float
    behind_seconds: float


class Scheduler:
    """Runs live streams side by side in one worker thread; any number of threads may call it.

    In each round the streams that have sound are heard together, the longest waiting first: their
    networks compute in batches (`echoic.streaming.work`), and what they are told is the same as
    alone. A stream that fails ends alone. Streams are refused, by `Busy`, before those that are
    open would fall behind.

    Attributes:
        config: how streams share the worker.
    """

    def __init__(
        self,
        config: SchedulerConfig | None = None,
        *,
        vad: SileroVad | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the worker.

        Args:
            config: how streams share it.
            vad: a voice activity detector that is already loaded; None: the installed one, loaded
                when it is first needed.
            clock: seconds.
        """
        self.config = SchedulerConfig() if config is None else config
        self._clock = clock
        self._vad = None if vad is None else VadEngine(vad)
        self._lock = threading.Lock()
        self._admission = Admission(self.config.admission)
        self._batches: dict[int, int] = {}
        self._refused = 0
        self._audio_seconds = self._compute_seconds = 0.0
        self._worker = Worker(
            self.config.rounds, name="echoic-scheduler", clock=clock, on_round=self._count
        )

    @property
    def is_alive(self) -> bool:
        """Whether streams are heard: until it is closed, if nothing unforeseen ends it."""
        return self._worker.is_alive

    @property
    def stats(self) -> SchedulerStats:
        """What was done so far."""
        with self._worker.owner.changed:
            streams = list(self._worker.streams)
        with self._lock:
            return SchedulerStats(
                streams=len(streams),
                room=self._admission.room(),
                refused=self._refused,
                rounds=sum(self._batches.values()),
                batches=dict(self._batches),
                audio_seconds=self._audio_seconds,
                compute_seconds=self._compute_seconds,
                behind_seconds=max((stream.behind for stream in streams), default=0.0),
            )

    def open(
        self,
        recognizer: Recognizer[Any],
        *,
        sample_rate: int,
        config: SessionConfig | None = None,
        state: SessionState | None = None,
        max_seconds: float = 30.0,
        policy: Policy = "refuse",
        on_event: Callable[[Event], None] | None = None,
        on_end: Callable[[Exception | None], None] | None = None,
    ) -> Stream:
        """Begin a stream.

        Args:
            recognizer: what to run. Those that share their engines are heard in one batch.
            sample_rate: Hz of sound that is put without a rate.
            config: how to hear it.
            state: of a session with the same recogniser and configuration, to go on from.
            max_seconds: sound that may wait.
            policy: what happens beyond, see `echoic.streaming.sound_queue`.
            on_event: called in the worker with every event; None: the stream's `poll` and `events`
                give them.
            on_end: called in the worker after the last event, with the error if there was one.

        Raises:
            Busy: there is no room.
            RuntimeError: the scheduler is closed.
            ValueError: see `Session` and `Stream`.
        """
        session = Session(
            recognizer, sample_rate=sample_rate, config=config, clock=self._clock, vad=self._judge()
        )
        if state is not None:
            session.restore(state)
        stream = Stream(
            session,
            self._worker.owner,
            max_seconds=max_seconds,
            policy=policy,
            on_event=on_event,
            on_end=on_end,
        )
        with self._lock:
            self._admit()
            self._worker.add(stream)
        return stream

    def close(self) -> None:
        """End the worker after its round; streams that are open end where they are, by an error.

        Raises:
            RuntimeError: when called by the worker itself.
        """
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _admit(self) -> None:
        streams, room = len(self._worker.streams), self._admission.room()
        if streams < room:
            return
        self._refused += 1
        raise Busy(
            f"{streams} streams are open and {room} fit: try again later, or elsewhere",
            retry_after=2.0,
        )

    def _judge(self) -> VadEngine:
        with self._lock:
            if self._vad is None:
                self._vad = VadEngine(SileroVad.from_installed())
            return self._vad

    def _count(self, batch: Sequence[Stream], shares: Sequence[Share], spent: float) -> None:
        with self._lock:
            self._audio_seconds += sum(share.seconds for share in shares)
            self._compute_seconds += spent
            self._batches[len(batch)] = self._batches.get(len(batch), 0) + 1
            self._admission.costs.add(sum(share.speech for share in shares), spent)
            rounds = sum(self._batches.values())
            if rounds % _WEIGH_EVERY == 0:
                sizes = (states.num_bytes(stream.checkpoint().state) for stream in batch)
                self._admission.largest_state = max(self._admission.largest_state, *sizes)

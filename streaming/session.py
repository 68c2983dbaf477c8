"""A live stream: sound of any kind in, events out; all of it a value that can be kept."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from echoic.audio.endpoint import EndpointRule
from echoic.audio.silero import SileroVad
from echoic.streaming import state as states
from echoic.streaming.events import Event
from echoic.streaming.gate import Ended, GateAction, GateConfig, GateState, Opened, SpeechGate
from echoic.streaming.recognizer import CompactRecognizer, Recognizer
from echoic.streaming.sound import Intake, IntakeState, Mono, as_mono
from echoic.streaming.stats import SessionStats, Stopwatch, Tally
from echoic.streaming.utterance import Outcome, UtteranceRunner, UtteranceState
from echoic.streaming.vad_engine import VadEngine
from echoic.streaming.work import Work, alone

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How a live stream is heard.

    Attributes:
        gate: what counts as an utterance.
    """

    gate: GateConfig = field(default_factory=GateConfig)


@dataclass(frozen=True, slots=True)
class SessionState:
    """All that a session remembers; a state tree.

    Attributes:
        intake: of the conversion to the recogniser's rate.
        gate: between two frames; its time begins at `origin`.
        utterance: the open one.
        tally: counters.
        origin: sample of the stream, at the recogniser's rate, where the gate's time begins.
        heard: samples since then.
        total: samples heard in all, without those skipped.
        is_finished: whether the stream has ended.
    """

    intake: IntakeState
    gate: GateState
    utterance: UtteranceState
    tally: Tally
    origin: int = 0
    heard: int = 0
    total: int = 0
    is_finished: bool = False


class Session(Generic[S]):
    """Runs a recogniser on one live stream.

    Silence is heard by the voice activity detector alone. Events are in the time of the stream
    and, but for `compute_ms`, do not depend on how the sound is cut. Memory does not grow with
    time. Not for several threads at once; `LiveSession` is.

    When the recogniser fails, or the sound is refused, the session is as it was before the call.

    Attributes:
        recognizer: what is run.
        config: how the stream is heard.
        sample_rate: Hz of sound that is fed without a rate.
    """

    def __init__(
        self,
        recognizer: Recognizer[S],
        *,
        sample_rate: int,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.perf_counter,
        vad: SileroVad | VadEngine | None = None,
    ) -> None:
        """Begin a stream.

        Args:
            recognizer: what to run; it is given sound on the CPU.
            sample_rate: Hz of the sound to come.
            config: how to hear it.
            clock: seconds that tell how long work takes.
            vad: a voice activity detector that is already loaded, or what judges for many sessions
                at once; None: the installed one.

        Raises:
            ValueError: for an impossible rate, or a recogniser of another rate than the gate's.
        """
        self.recognizer = recognizer
        self.config = SessionConfig() if config is None else config
        self.sample_rate = sample_rate
        self._clock = clock
        self._gate = SpeechGate(self.config.gate, vad=vad)
        if self.config.gate.enabled and recognizer.sample_rate != self._gate.sample_rate:
            raise ValueError(
                f"the recogniser wants {recognizer.sample_rate} Hz and the gate "
                f"{self._gate.sample_rate}: set gate.enabled to False"
            )
        self._intake = Intake(recognizer.sample_rate)
        grid = self._gate.frame_size if self.config.gate.enabled else 1
        self._runner = UtteranceRunner(recognizer, grid)
        self._state = self._initial_state()

    def _initial_state(self) -> SessionState:
        return SessionState(
            self._intake.initial_state(self.sample_rate),
            self._gate.initial_state(),
            self._runner.initial_state(),
            Tally.empty(),
        )

    @property
    def stats(self) -> SessionStats:
        """What was heard so far, and how much work it was."""
        state = self._state
        return state.tally.stats(state.total / self.recognizer.sample_rate)

    @property
    def position(self) -> float:
        """Seconds of the stream that were heard or skipped."""
        return (self._state.origin + self._state.heard) / self.recognizer.sample_rate

    @property
    def blocks(self) -> int:
        """Blocks that the recogniser has worked on."""
        return self._state.tally.blocks

    @property
    def is_finished(self) -> bool:
        """Whether the stream has ended."""
        return self._state.is_finished

    def feed(
        self, wav: Tensor | np.ndarray[Any, Any], *, sample_rate: int | None = None
    ) -> list[Event]:
        """Hear more of the stream.

        Args:
            wav: (T,) or (C, T), any T >= 0, floats in [-1, 1] or int16. Channels are averaged;
                values that are not finite count as 0, values beyond [-1, 1] are cut.
            sample_rate: Hz of `wav`; None: the session's. It may change at any time.

        Returns:
            What became known, in order.

        Raises:
            RuntimeError: after `finish`, and when the recogniser breaks its protocol.
            TypeError: for sound of another type.
            ValueError: for sound of another shape, or an impossible rate.
        """
        return alone(self.feeding(wav, sample_rate=sample_rate))

    def feeding(
        self, wav: Tensor | np.ndarray[Any, Any], *, sample_rate: int | None = None
    ) -> Work[list[Event]]:
        """`feed` as work that may have company; the session is as before until it is done."""
        self._check_running()
        watch = Stopwatch(self._clock)
        mono, state = as_mono(wav), self._state
        rate = self.sample_rate if sample_rate is None else sample_rate
        intake, sound = self._intake.step(state.intake, mono.wav, rate)
        state = replace(state, intake=intake, tally=_counted(state.tally, mono))
        state, events = yield from self._hear(state, sound, watch)
        self._keep(state, watch)
        return events

    def finish(self) -> list[Event]:
        """End the stream, also in mid-word; a second time does nothing.

        Returns:
            The last events: everything that was said is final.
        """
        return alone(self.finishing())

    def finishing(self) -> Work[list[Event]]:
        """`finish` as work that may have company."""
        if self._state.is_finished:
            return []
        watch = Stopwatch(self._clock)
        state, events = yield from self._flush(self._state, watch)
        self._keep(replace(state, is_finished=True), watch)
        return events

    def skip(self, seconds: float) -> list[Event]:
        """Leave out a part of the stream that is lost; times go on behind it.

        The open utterance ends before the gap, as by `finish`.

        Returns:
            The last events of the open utterance.

        Raises:
            RuntimeError: after `finish`.
            ValueError: for a negative time.
        """
        return alone(self.skipping(seconds))

    def skipping(self, seconds: float) -> Work[list[Event]]:
        """`skip` as work that may have company."""
        self._check_running()
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"seconds is {seconds}, expected 0 or more to skip")
        watch = Stopwatch(self._clock)
        state, events = yield from self._flush(self._state, watch)
        samples = round(seconds * self.recognizer.sample_rate)
        tally = replace(state.tally, skipped_seconds=state.tally.skipped_seconds + seconds)
        state = replace(
            state,
            intake=self._intake.initial_state(state.intake.rate),
            tally=tally,
            origin=state.origin + state.heard + samples,
            heard=0,
        )
        self._keep(state, watch)
        return events

    def reset(self) -> None:
        """Begin another stream, with statistics of its own."""
        self._state = self._initial_state()

    def snapshot(self) -> SessionState:
        """Return all that the session remembers: a value that later calls leave as it is."""
        return self._state

    def restore(self, state: SessionState) -> None:
        """Go on from a snapshot of a session with the same recogniser and configuration.

        Raises:
            TypeError: for anything else than a snapshot.
        """
        if not isinstance(state, SessionState):
            raise TypeError(f"state is a {type(state).__name__}: give a session's snapshot")
        self._state = state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the snapshot to a file, whole or not at all."""
        states.save(path, compacted(self.recognizer, self._state))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a snapshot that `save` wrote, also in another process.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is not a snapshot of a session with such a recogniser.
        """
        self._state = states.load(path, self._initial_state())

    def _check_running(self) -> None:
        if self._state.is_finished:
            raise RuntimeError("the session has finished: call reset() to begin another stream")

    def _keep(self, state: SessionState, watch: Stopwatch) -> None:
        watch.lap_ms()
        spent = state.tally.compute_seconds + watch.total
        self._state = replace(state, tally=replace(state.tally, compute_seconds=spent))

    def _hear(
        self, state: SessionState, sound: Tensor, watch: Stopwatch
    ) -> Work[tuple[SessionState, list[Event]]]:
        """Take sound at the recogniser's rate."""
        gate, actions = yield from self._gate.stepping(state.gate, sound)
        heard, total = state.heard + sound.shape[1], state.total + sound.shape[1]
        return (
            yield from self._act(
                replace(state, gate=gate, heard=heard, total=total), actions, watch
            )
        )

    def _flush(
        self, state: SessionState, watch: Stopwatch
    ) -> Work[tuple[SessionState, list[Event]]]:
        """Hear what is held back anywhere, and end the open utterance."""
        state, events = yield from self._hear(state, self._intake.flush(state.intake), watch)
        gate, actions = yield from self._gate.finishing(state.gate)
        state, last = yield from self._act(replace(state, gate=gate), actions, watch)
        return state, events + last

    def _act(
        self, state: SessionState, actions: list[GateAction], watch: Stopwatch
    ) -> Work[tuple[SessionState, list[Event]]]:
        events: list[Event] = []
        for action in actions:
            if isinstance(action, Opened):
                tally = replace(state.tally, utterances=state.tally.utterances + 1)
                opened = self._runner.open(action, state.origin)
                state = replace(state, utterance=opened, tally=tally)
                continue
            if isinstance(action, Ended):
                outcome = yield from self._runner.ending(state.utterance, watch)
                outcome = self._closed(outcome, action, state.origin)
            else:
                outcome = yield from self._runner.hearing(state.utterance, action.wav, watch)
            tally = _tallied(state.tally, outcome)
            state = replace(state, utterance=outcome.state, tally=tally)
            events += outcome.events
        return state, events

    def _closed(self, outcome: Outcome, action: Ended, origin: int) -> Outcome:
        events = outcome.events
        if outcome.state.has_final and action.rule == EndpointRule.AFTER_SPEECH:
            at = (origin + action.end) / self.recognizer.sample_rate
            spent = events[-1].compute_ms if events else outcome.state.unbilled_ms
            events = [*events, Event("endpoint", "", at, at, audio_time=at, compute_ms=spent)]
        return outcome._replace(state=self._runner.initial_state(), events=events)


def compacted(recognizer: Recognizer[Any], state: SessionState) -> SessionState:
    """Return a snapshot as it is best kept: small, where the recogniser can make it so."""
    if not isinstance(recognizer, CompactRecognizer):
        return state
    utterance = state.utterance
    small = replace(utterance, recognizer=recognizer.compact(utterance.recognizer))
    return replace(state, utterance=small)


def _counted(tally: Tally, mono: Mono) -> Tally:
    if not mono.replaced and not mono.clipped:
        return tally
    replaced, clipped = tally.replaced + mono.replaced, tally.clipped + mono.clipped
    return replace(tally, replaced=replaced, clipped=clipped)


def _tallied(tally: Tally, outcome: Outcome) -> Tally:
    for spent in outcome.chunks_ms:
        tally = tally.with_chunk(spent)
    if outcome.first_word_latency is not None:
        tally = tally.with_first_word(outcome.first_word_latency)
    return tally

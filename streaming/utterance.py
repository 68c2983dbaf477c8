"""One utterance of a live stream in the hands of a recogniser, and what the recogniser promised."""

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from echoic.streaming.events import Event
from echoic.streaming.gate import Opened
from echoic.streaming.recognizer import Recognizer, finishing, stepping
from echoic.streaming.stats import Stopwatch
from echoic.streaming.work import Work

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class UtteranceState:
    """Where the open utterance stands; positions are samples of the stream.

    Attributes:
        recognizer: the recogniser's state; its initial one when no utterance is open.
        start: the utterance's first sample.
        opened: samples that had been heard when it opened.
        heard: samples of it that the recogniser was given.
        promised: the stable words that are not final yet, as a JSON list.
        has_final: whether one of its finals had words.
        has_word: whether it has shown a word.
        unbilled_ms: time spent on a block that is not full yet.
    """

    recognizer: Any
    start: int = 0
    opened: int = 0
    heard: int = 0
    promised: str = "[]"
    has_final: bool = False
    has_word: bool = False
    unbilled_ms: float = 0.0


class Outcome(NamedTuple):
    """What came of a piece of sound.

    Attributes:
        state: the utterance's next one.
        events: in the time of the stream.
        chunks_ms: time for each of the recogniser's blocks that became full.
        first_word_latency: seconds, where the utterance's first word was shown.
    """

    state: UtteranceState
    events: list[Event]
    chunks_ms: list[float]
    first_word_latency: float | None


class UtteranceRunner(Generic[S]):
    """Gives sound to a recogniser block by block, and tells its events in the stream's time."""

    def __init__(self, recognizer: Recognizer[S], grid: int) -> None:
        """Prepare to run.

        Args:
            recognizer: what to run.
            grid: sound is let through in multiples of so many samples of the stream.
        """
        self._recognizer = recognizer
        self._rate = recognizer.sample_rate
        self._grid = grid
        self._fresh = UtteranceState(recognizer.initial_state(1))

    def initial_state(self) -> UtteranceState:
        """Return the state while no utterance is open."""
        return self._fresh

    def open(self, opened: Opened, origin: int) -> UtteranceState:
        """Begin an utterance; the gate's time began at sample `origin` of the stream."""
        start, time = origin + opened.start, origin + opened.time
        return replace(self._fresh, start=start, opened=time)

    def hearing(self, state: UtteranceState, wav: Tensor, watch: Stopwatch) -> Work[Outcome]:
        """Take more sound of the utterance, (1, T).

        Raises:
            RuntimeError: when the recogniser breaks its protocol.
        """
        given = state.heard + wav.shape[1]
        size = self._recognizer.frame_size
        outcome = Outcome(state, [], [], None)
        while wav.shape[1]:
            piece = wav[:, : size - outcome.state.heard % size]
            wav = wav[:, piece.shape[1] :]
            made = yield from stepping(self._recognizer, outcome.state.recognizer, piece)
            outcome = self._take(outcome, made, piece.shape[1], given, watch)
        return outcome

    def ending(self, state: UtteranceState, watch: Stopwatch) -> Work[Outcome]:
        """End the utterance.

        Raises:
            RuntimeError: when the recogniser breaks its protocol.
        """
        made = yield from finishing(self._recognizer, state.recognizer)
        outcome = self._take(Outcome(state, [], [], None), made, 0, state.heard, watch)
        promised = json.loads(outcome.state.promised)
        if promised:
            raise RuntimeError(
                f"the recogniser ended an utterance and left {promised} stable, not final: "
                "expected a final event with all open words from finish"
            )
        return outcome

    def _take(
        self,
        before: Outcome,
        result: tuple[S, list[Event]],
        samples: int,
        given: int,
        watch: Stopwatch,
    ) -> Outcome:
        """Add what the recogniser made of `samples` more, of `given` that are there."""
        (inner, made), state = result, before.state
        spent = state.unbilled_ms + watch.lap_ms()
        heard = state.heard + samples
        is_full = samples > 0 and heard % self._recognizer.frame_size == 0
        state = replace(state, recognizer=inner, heard=heard, unbilled_ms=0.0 if is_full else spent)
        outcome = before._replace(
            state=state, chunks_ms=[*before.chunks_ms, spent] if is_full else before.chunks_ms
        )
        for event in made:
            outcome = self._tell(outcome, event, given, spent)
        return outcome

    def _tell(self, outcome: Outcome, event: Event, given: int, spent: float) -> Outcome:
        state = outcome.state
        promised = _keep_promise(json.loads(state.promised), event)
        told = event.shifted(state.start / self._rate)
        told = replace(told, audio_time=self._audio_time(state, event, given), compute_ms=spent)
        latency = outcome.first_word_latency
        if event.words and not state.has_word:
            latency = told.audio_time - told.words[0].start + spent / 1000
        state = replace(
            state,
            promised=json.dumps(promised),
            has_word=state.has_word or bool(event.words),
            has_final=state.has_final or (event.type == "final" and bool(event.words)),
        )
        return outcome._replace(
            state=state, events=[*outcome.events, told], first_word_latency=latency
        )

    def _audio_time(self, state: UtteranceState, event: Event, given: int) -> float:
        """Return the seconds of the stream that had been heard when an event was made.

        Sound is let through in frames, and the first of an utterance only when it has opened, so
        that is later than the end of the recogniser's block.
        """
        needed = state.start + math.ceil(event.audio_time * self._rate - 1e-3)
        framed = -(-needed // self._grid) * self._grid
        return max(state.opened, min(framed, state.start + given)) / self._rate


def _keep_promise(promised: list[str], event: Event) -> list[str]:
    """Check an event against the words that were called stable; return what is promised now.

    Raises:
        RuntimeError: when the recogniser breaks its protocol.
    """
    words = [word.text for word in event.words]
    if event.type == "endpoint":
        raise RuntimeError(
            f"the recogniser made an endpoint at {event.audio_time:.3f} s: expected partial and "
            "final events; the session says where utterances end"
        )
    numbers = (event.start, event.end, event.audio_time)
    if not all(map(math.isfinite, numbers)):
        raise RuntimeError(
            f"the recogniser made an event at {numbers}: expected finite seconds for start, end "
            "and audio_time"
        )
    shared = min(len(promised), len(words)) if event.type == "final" else len(promised)
    if words[:shared] != promised[:shared]:
        raise RuntimeError(
            f"the recogniser took back stable words: {promised[:shared]} became "
            f"{words[:shared]} in a {event.type} at {event.audio_time:.3f} s; mark words as "
            "stable only when no sound to come can change them"
        )
    if event.type == "final":
        return promised[len(words) :]
    if event.stable < len(promised):
        raise RuntimeError(
            f"the recogniser has {event.stable} stable words at {event.audio_time:.3f} s after "
            f"{len(promised)}: expected no fewer"
        )
    return words[: event.stable]

"""A live stream in the hands of a scheduler: sound in without waiting, events out as they come."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self, get_args

import numpy as np
from torch import Tensor

from echoic.streaming.events import Event
from echoic.streaming.session import Session, SessionState
from echoic.streaming.sound import as_channels, checked_rate
from echoic.streaming.sound_queue import Chunk, Policy, SoundQueue
from echoic.streaming.stats import SessionStats
from echoic.streaming.work import Outcome, Work

log = logging.getLogger(__name__)

# Unread events up to which partials are kept that a later event has replaced.
_MAX_UNREAD = 1000


class Checkpoint(NamedTuple):
    """Where a stream stands.

    Attributes:
        state: of its session; a value.
        samples: of the sound that was put, as it was put, how many the state has heard.
    """

    state: SessionState
    samples: int


class Share(NamedTuple):
    """What a stream had of a round.

    Attributes:
        seconds: of sound that was heard.
        speech: of them, what the recogniser worked on.
    """

    seconds: float
    speech: float


class Owner(NamedTuple):
    """What a stream needs of its scheduler.

    Attributes:
        changed: guards all streams; told when one has something to do, or to read.
        clock: seconds.
        is_worker: whether the calling thread is the scheduler's.
    """

    changed: threading.Condition
    clock: Callable[[], float]
    is_worker: Callable[[], bool]


class Stream:
    """A stream of `Scheduler.open`; any number of threads may call it.

    After an error in its work, `put`, `poll`, `events` and `close` raise RuntimeError from it.

    Attributes:
        session: what is run; not to be used by others before the stream has ended.
    """

    def __init__(
        self,
        session: Session[Any],
        owner: Owner,
        *,
        max_seconds: float = 30.0,
        policy: Policy = "refuse",
        on_event: Callable[[Event], None] | None = None,
        on_end: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Begin; for schedulers.

        Args:
            session: what to run.
            owner: the scheduler's.
            max_seconds: sound that may wait.
            policy: "refuse" or "drop_oldest", see `echoic.streaming.sound_queue`.
            on_event: called in the worker with every event; None: `poll` and `events` give them.
            on_end: called in the worker after the last event, with the error if there was one.

        Raises:
            ValueError: for a queue without length or an unknown policy.
        """
        if not max_seconds > 0:
            raise ValueError(f"max_seconds is {max_seconds}, expected more than 0 to wait in")
        if policy not in get_args(Policy):
            raise ValueError(f"policy is {policy!r}, expected one of {', '.join(get_args(Policy))}")
        self.session = session
        self._owner = owner
        self._changed = owner.changed
        self._queue = SoundQueue(max_seconds, policy)
        self._on_event = on_event
        self._on_end = on_end
        self._unread: deque[Event] = deque()
        self._in_work = 0.0
        self._samples_in_work = 0
        self._since: float | None = None  # when the oldest waiting sound, or the end, came
        self._is_closing = self._discards = self._is_ending = self._has_ended = False
        self._error: Exception | None = None
        self._checkpoint = Checkpoint(session.snapshot(), 0)
        self._blocks = session.blocks

    @property
    def max_seconds(self) -> float:
        """Sound that may wait."""
        return self._queue.max_seconds

    @property
    def policy(self) -> Policy:
        """What happens to sound beyond."""
        return self._queue.policy

    @property
    def behind(self) -> float:
        """Seconds of sound that were taken and not worked on yet."""
        with self._changed:
            return self._queue.seconds + self._in_work

    @property
    def dropped_seconds(self) -> float:
        """Seconds of sound that were dropped to make room."""
        with self._changed:
            return self._queue.dropped

    @property
    def refused_seconds(self) -> float:
        """Seconds of sound that were not taken, as there was no room."""
        with self._changed:
            return self._queue.refused

    @property
    def has_ended(self) -> bool:
        """Whether all events were told."""
        with self._changed:
            return self._has_ended

    @property
    def stats(self) -> SessionStats:
        """The session's, as of the last piece that was worked on."""
        return self.session.stats

    def put(self, wav: Tensor | np.ndarray[Any, Any], sample_rate: int | None = None) -> bool:
        """Give more sound; never waits for the recogniser.

        Args:
            wav: as `Session.feed` takes it; copied.
            sample_rate: Hz; None: the session's.

        Returns:
            Whether the sound was taken; False only with the policy "refuse".

        Raises:
            RuntimeError: after `finish` or `close`, or after an error in the work.
            TypeError: for sound of another type.
            ValueError: for sound of another shape, an impossible rate, or longer than the queue.
        """
        rate = checked_rate(self.session.sample_rate if sample_rate is None else sample_rate)
        chunk = Chunk(as_channels(wav).clone(), rate)
        if chunk.seconds > self.max_seconds:
            raise ValueError(
                f"the sound is {chunk.seconds:.2f} s long, more than the queue of "
                f"{self.max_seconds:g} s: put it in pieces, or raise max_seconds"
            )
        with self._changed:
            self._raise_error()
            if self._is_closing or self._has_ended:
                raise RuntimeError("the live session is closed: begin another one")
            if not self._queue.put(chunk):
                return False
            if chunk.seconds:
                self._wake()
        return True

    def poll(self, timeout: float = 0.0) -> list[Event]:
        """Return the events that nobody has read yet.

        Args:
            timeout: seconds to wait for the first one.

        Raises:
            RuntimeError: after an error in the work, once all events before it were read.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._has_ended, timeout)
            return self._read()

    def events(self) -> Iterator[Event]:
        """Yield events as they come, until the stream has ended and all were read.

        Raises:
            RuntimeError: after an error in the work, once all events before it were read.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unread or self._has_ended)
                batch = self._read()
            if not batch:
                return
            yield from batch

    def checkpoint(self) -> Checkpoint:
        """Return where the stream stands, as of the last piece that was worked on; never waits."""
        with self._changed:
            return self._checkpoint

    def snapshot(self) -> SessionState:
        """Wait until all sound that was put was heard, and return the session's state.

        Raises:
            RuntimeError: after an error in the work.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or not (self._queue or self._in_work))
            self._raise_error()
            return self._checkpoint.state

    def finish(self, *, discard: bool = False) -> None:
        """Say that no more sound comes; does not wait. What waits is heard, and all words told.

        Args:
            discard: leave out the waiting sound and the session's last events.
        """
        with self._changed:
            self._is_closing = True
            self._discards |= discard
            self._wake()

    def close(self, *, discard: bool = False) -> None:
        """End the stream, and wait until it has ended; a second time does nothing.

        Args:
            discard: leave out the waiting sound and the session's last events.

        Raises:
            RuntimeError: after an error in the work, or when called by the worker itself.
        """
        if self._owner.is_worker():
            raise RuntimeError("close() in the worker would wait for itself: call it elsewhere")
        self.finish(discard=discard)
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended)
            if not discard:
                self._raise_error()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(discard=error is not None)

    @property
    def waiting_since(self) -> float | None:
        """For the scheduler: when there first was something to do; None when there is nothing."""
        return self._since

    def next_work(self, most_seconds: float) -> Work[list[Event]]:
        """For the scheduler, under its lock: take the next piece of what there is to do."""
        self._since = None
        if self._discards:
            self._queue.clear()
            return _nothing()
        if gap := self._queue.take_gap():
            self._wake()
            return self.session.skipping(gap)
        if not self._queue:
            self._is_ending = True
            return self.session.finishing()
        chunk = self._queue.take(most_seconds)
        self._in_work, self._samples_in_work = chunk.seconds, chunk.wav.shape[1]
        if self._queue or self._is_closing:
            self._wake()
        return self.session.feeding(chunk.wav, sample_rate=chunk.rate)

    def settle(self, outcome: Outcome) -> Share:
        """For the scheduler, without its lock: tell what came of the work, and how much it was."""
        error = outcome.error or self._tell(outcome.result)
        blocks, self._blocks = self._blocks, self.session.blocks
        recognizer = self.session.recognizer
        speech = (self._blocks - blocks) * recognizer.frame_size / recognizer.sample_rate
        share = Share(self._in_work, speech)
        with self._changed:
            heard = self._checkpoint.samples + self._samples_in_work
            self._in_work, self._samples_in_work = 0.0, 0
            if error is None:
                self._checkpoint = Checkpoint(self.session.snapshot(), heard)
            is_over = self._is_ending or self._discards or error is not None
            if not is_over:
                self._changed.notify_all()
                return share
        self.end(error)
        return share

    def end(self, error: Exception | None) -> None:
        """For the scheduler, without its lock: nothing more is done."""
        with self._changed:
            if self._has_ended:
                return
            self._error, self._has_ended, self._since = error, True, None
            self._queue.clear()
            self._in_work = 0.0
            self._changed.notify_all()
        if self._on_end is not None:
            try:
                self._on_end(error)
            except Exception:  # the worker has other streams
                log.exception("a listener failed at the end of its stream")

    def _wake(self) -> None:
        if self._since is None and not self._has_ended:
            self._since = self._owner.clock()
        self._changed.notify_all()

    def _tell(self, events: list[Event]) -> Exception | None:
        if self._on_event is None:
            with self._changed:
                self._unread.extend(events)
                self._forget_partials()
            return None
        try:
            for event in events:
                self._on_event(event)
        except Exception as error:
            return error
        return None

    def _forget_partials(self) -> None:
        if len(self._unread) > _MAX_UNREAD:
            last = self._unread.pop()
            kept = [event for event in self._unread if event.type != "partial"]
            self._unread = deque([*kept, last])

    def _read(self) -> list[Event]:
        batch = list(self._unread)
        self._unread.clear()
        if not batch:
            self._raise_error()
        return batch

    def _raise_error(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"the live session's worker failed: {self._error}") from self._error


def _nothing() -> Work[list[Event]]:
    yield from ()
    return []

"""A session with a thread of its own, for callers that must not wait: microphones and servers."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
from torch import Tensor

from echoic.streaming.events import Event
from echoic.streaming.session import Session
from echoic.streaming.sound import as_channels, checked_rate
from echoic.streaming.stats import SessionStats

Policy = Literal["refuse", "drop_oldest"]

# Waiting sound is worked on in pieces of at most this: events keep coming while it catches up.
_PIECE_SECONDS = 1.0
# Shorter sound is joined with what comes next: a tensor is much larger than its few samples.
_CRUMB_SECONDS = 0.01
# Unread events up to which partials are kept that a later event has replaced.
_MAX_UNREAD = 1000


class _Chunk(NamedTuple):
    wav: Tensor  # (C, T)
    rate: int

    @property
    def seconds(self) -> float:
        return self.wav.shape[1] / self.rate


class _Job(NamedTuple):
    gap: float  # seconds that were dropped before the sound
    chunks: list[_Chunk]


class LiveSession:
    """Takes sound without waiting, and runs a session on it in one worker thread.

    Any number of threads may call it. Sound waits in a queue of bounded length; the worker takes
    what has gathered in larger pieces, and so catches up after a delay. When it is too slow for
    good, the queue fills, and `policy` decides:

    - "refuse": `put` returns False and does not take the sound; the caller knows and decides.
    - "drop_oldest": the older half of the waiting sound is dropped, so that there is one gap and
      not many, and the session skips it: the utterance ends there, and times stay right.

    After an error in the worker, `put`, `poll`, `events` and `close` raise RuntimeError from it.

    Attributes:
        session: what is run; not to be used by others before `close`.
        max_seconds: sound that may wait.
        policy: what happens beyond it.
    """

    def __init__(
        self,
        session: Session[Any],
        *,
        max_seconds: float = 30.0,
        policy: Policy = "refuse",
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Start the worker.

        Args:
            session: what to run.
            max_seconds: sound that may wait.
            policy: "refuse" or "drop_oldest".
            on_event: called in the worker with every event; None: `poll` and `events` give them.

        Raises:
            ValueError: for a queue without length or an unknown policy.
        """
        if not max_seconds > 0:
            raise ValueError(f"max_seconds is {max_seconds}, expected more than 0 to wait in")
        if policy not in get_args(Policy):
            raise ValueError(f"policy is {policy!r}, expected one of {', '.join(get_args(Policy))}")
        self.session = session
        self.max_seconds = max_seconds
        self.policy = policy
        self._on_event = on_event
        self._changed = threading.Condition()
        self._waiting: deque[_Chunk] = deque()
        self._waiting_seconds = self._gap = self._in_work = 0.0
        self._dropped = self._refused = 0.0
        self._unread: deque[Event] = deque()
        self._is_closing = self._discards = self._has_ended = False
        self._error: BaseException | None = None
        self._worker = threading.Thread(target=self._work, name="echoic-live", daemon=True)
        self._worker.start()

    @property
    def behind(self) -> float:
        """Seconds of sound that were taken and not worked on yet."""
        with self._changed:
            return self._waiting_seconds + self._in_work

    @property
    def dropped_seconds(self) -> float:
        """Seconds of sound that were dropped to make room."""
        with self._changed:
            return self._dropped

    @property
    def refused_seconds(self) -> float:
        """Seconds of sound that `put` did not take."""
        with self._changed:
            return self._refused

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
            RuntimeError: after `close`, or after an error in the worker.
            TypeError: for sound of another type.
            ValueError: for sound of another shape, an impossible rate, or longer than the queue.
        """
        rate = checked_rate(self.session.sample_rate if sample_rate is None else sample_rate)
        chunk = _Chunk(as_channels(wav).clone(), rate)
        if chunk.seconds > self.max_seconds:
            raise ValueError(
                f"the sound is {chunk.seconds:.2f} s long, more than the queue of "
                f"{self.max_seconds:g} s: put it in pieces, or raise max_seconds"
            )
        with self._changed:
            self._raise_error()
            if self._is_closing:
                raise RuntimeError("the live session is closed: begin another one")
            if self._waiting_seconds + chunk.seconds > self.max_seconds:
                if self.policy == "refuse":
                    self._refused += chunk.seconds
                    return False
                self._drop(max(0.0, self.max_seconds / 2 - chunk.seconds))
            if chunk.seconds:
                self._append(chunk)
                self._changed.notify_all()
        return True

    def poll(self, timeout: float = 0.0) -> list[Event]:
        """Return the events that nobody has read yet.

        Args:
            timeout: seconds to wait for the first one.

        Raises:
            RuntimeError: after an error in the worker, once all events before it were read.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._has_ended, timeout)
            return self._read()

    def events(self) -> Iterator[Event]:
        """Yield events as they come, until the session is closed and all were read.

        Raises:
            RuntimeError: after an error in the worker, once all events before it were read.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unread or self._has_ended)
                batch = self._read()
            if not batch:
                return
            yield from batch

    def close(self, *, discard: bool = False) -> None:
        """End the stream and the worker; a second time does nothing.

        Waits until all waiting sound was heard and its events were told; they can be read after.

        Args:
            discard: leave out the waiting sound and the session's last events.

        Raises:
            RuntimeError: after an error in the worker, or when called by the worker itself.
        """
        if threading.current_thread() is self._worker:
            raise RuntimeError("close() in the worker would wait for itself: call it elsewhere")
        with self._changed:
            self._is_closing = True
            self._discards |= discard
            self._changed.notify_all()
        self._worker.join()
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

    def _raise_error(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"the live session's worker failed: {self._error}") from self._error

    def _read(self) -> list[Event]:
        batch = list(self._unread)
        self._unread.clear()
        if not batch:
            self._raise_error()
        return batch

    def _append(self, chunk: _Chunk) -> None:
        self._waiting_seconds += chunk.seconds
        if self._waiting and self._waiting[-1].seconds < _CRUMB_SECONDS:
            last = self._waiting[-1]
            if _fits(last, chunk):
                self._waiting.pop()
                chunk = _Chunk(torch.cat([last.wav, chunk.wav], dim=1), chunk.rate)
        self._waiting.append(chunk)

    def _drop(self, until: float) -> None:
        """Drop the oldest sound until no more than this many seconds wait."""
        while self._waiting and self._waiting_seconds > until:
            seconds = self._waiting.popleft().seconds
            self._waiting_seconds -= seconds
            self._dropped += seconds
            self._gap += seconds

    def _work(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                if job.gap:
                    self._tell(self.session.skip(job.gap))
                wav = torch.cat([chunk.wav for chunk in job.chunks], dim=1)
                self._tell(self.session.feed(wav, sample_rate=job.chunks[0].rate))
            if not self._discards:
                self._tell(self.session.finish())
        except BaseException as error:
            self._error = error
        with self._changed:
            self._has_ended = True
            self._waiting.clear()
            self._waiting_seconds = self._in_work = 0.0
            self._changed.notify_all()

    def _next_job(self) -> _Job | None:
        """Wait for sound; None when the stream has ended."""
        with self._changed:
            self._in_work = 0.0
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if self._discards or not self._waiting:
                return None
            chunks = [self._waiting.popleft()]
            seconds = chunks[0].seconds
            while self._waiting and _fits(chunks[0], self._waiting[0]):
                if seconds + self._waiting[0].seconds > _PIECE_SECONDS:
                    break
                chunks.append(self._waiting.popleft())
                seconds += chunks[-1].seconds
            self._waiting_seconds = max(0.0, self._waiting_seconds - seconds)
            self._in_work = seconds
            job, self._gap = _Job(self._gap, chunks), 0.0
            return job

    def _tell(self, events: list[Event]) -> None:
        if self._on_event is not None:
            for event in events:
                self._on_event(event)
            return
        with self._changed:
            self._unread.extend(events)
            if len(self._unread) > _MAX_UNREAD:
                last = self._unread.pop()
                kept = [event for event in self._unread if event.type != "partial"]
                self._unread = deque([*kept, last])
            self._changed.notify_all()


def _fits(a: _Chunk, b: _Chunk) -> bool:
    return (a.rate, a.wav.shape[0], a.wav.dtype) == (b.rate, b.wav.shape[0], b.wav.dtype)

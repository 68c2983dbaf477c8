"""The worker of live streams: a thread that gathers what there is to do into rounds."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from echoic.streaming.stream import Owner, Share, Stream
from echoic.streaming.work import together

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoundConfig:
    """How streams share a worker.

    Attributes:
        gather_ms: sound waits for company at most so long before it is worked on; while the worker
            is busy, company comes by itself.
        piece_seconds: sound of one stream in a round, so that nobody waits for one who catches up.
        max_batch: streams in a round; those that have waited longest come first.
    """

    gather_ms: float = 40.0
    piece_seconds: float = 0.5
    max_batch: int = 64

    def __post_init__(self) -> None:
        if not self.gather_ms >= 0:
            raise ValueError(f"gather_ms is {self.gather_ms}: expected 0 or more")
        if not self.piece_seconds > 0:
            raise ValueError(f"piece_seconds is {self.piece_seconds}: expected more than 0")
        if self.max_batch < 1:
            raise ValueError(f"max_batch is {self.max_batch}: expected 1 or more")


class Worker:
    """A thread that works on streams in rounds until it is closed.

    Attributes:
        config: how streams share it.
        owner: what streams need of it; its `changed` guards all that is here.
        streams: that are open.
    """

    def __init__(
        self,
        config: RoundConfig,
        *,
        name: str,
        clock: Callable[[], float] = time.perf_counter,
        on_round: Callable[[Sequence[Stream], Sequence[Share], float], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            config: how streams share it.
            name: of the thread.
            clock: seconds.
            on_round: called after each round with its streams, what each had of it, and the
                seconds that it took; not under the lock.
        """
        self.config = config
        self.streams: dict[Stream, None] = {}  # an ordered set
        self._changed = threading.Condition()
        self._clock = clock
        self._on_round = on_round
        self._is_closing = self._ends_when_idle = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.owner = Owner(self._changed, clock, lambda: threading.current_thread() is self._thread)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def add(self, stream: Stream, *, only: bool = False) -> None:
        """Work on a stream, too.

        Args:
            stream: made with this worker's `owner`.
            only: it is the only one: the worker ends with it.

        Raises:
            RuntimeError: after `close`.
        """
        with self._changed:
            if self._is_closing:
                raise RuntimeError("the scheduler is closed: no more streams can be opened")
            self.streams[stream] = None
            self._ends_when_idle = only

    def close(self) -> None:
        """End the thread after its round; streams that are open end where they are, by an error.

        Raises:
            RuntimeError: when called by the worker itself.
        """
        if self.owner.is_worker():
            raise RuntimeError("close() in the worker would wait for itself: call it elsewhere")
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        why: Exception = RuntimeError("the scheduler was closed")
        try:
            self._work()
        except Exception as error:  # nobody is to wait for a thread that is gone
            log.exception("the worker of live streams ended by an error")
            why = error
        with self._changed:
            self._is_closing = True
        for stream in list(self.streams):
            stream.end(why)

    def _work(self) -> None:
        while batch := self._gather():
            began = self._clock()
            with self._changed:
                works = [stream.next_work(self.config.piece_seconds) for stream in batch]
            outcomes = together(works)
            spent = self._clock() - began
            shares = [s.settle(outcome) for s, outcome in zip(batch, outcomes, strict=True)]
            with self._changed:
                for stream in batch:
                    if stream.has_ended:
                        del self.streams[stream]
            if self._on_round is not None:
                self._on_round(batch, shares, spent)

    def _gather(self) -> Sequence[Stream]:
        """Wait for work; return the streams of the next round, none when the worker is to end."""
        most = self.config.max_batch
        with self._changed:
            while not self._is_closing:
                ready = sorted(
                    (stream.waiting_since, number, stream)
                    for number, stream in enumerate(self.streams)
                    if stream.waiting_since is not None
                )
                if ready:
                    rest = ready[0][0] + self.config.gather_ms / 1000 - self._clock()
                    if rest <= 0 or len(ready) >= min(most, len(self.streams)):
                        return [stream for _, _, stream in ready[:most]]
                    self._changed.wait(rest)
                elif self._ends_when_idle and not self.streams:
                    self._is_closing = True
                else:
                    self._changed.wait()
        return []

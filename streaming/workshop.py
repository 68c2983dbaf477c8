"""A thread in which pieces of work are done side by side; they come and go at any time."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Container
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from echoic.streaming.busy import Busy
from echoic.streaming.work import Outcome, Rounds, Work

log = logging.getLogger(__name__)

# Share of the newest in the mean time that a piece of work takes.
_NEWEST = 0.1


@dataclass(frozen=True, slots=True)
class WorkshopConfig:
    """How pieces of work share a workshop.

    Attributes:
        places: pieces that are worked on at once, those at leisure not counted.
        waiting: further ones that are taken, and wait for a place.
        leisure: seconds of slack beyond which a piece rests while others have less.
        patience: turns after which a question goes before those of lower stages, see `Rounds`.

    Raises:
        ValueError: numbers that leave nothing to be done.
    """

    places: int = 8
    waiting: int = 32
    leisure: float = 2.0
    patience: int = 16

    def __post_init__(self) -> None:
        if self.places < 1 or self.waiting < 0 or self.patience < 1 or not self.leisure >= 0:
            raise ValueError(
                f"{self}: expected 1 or more places and turns of patience, and 0 or more that wait "
                "and seconds of leisure"
            )


class Job:
    """A piece of work in a workshop.

    Attributes:
        began: when it was taken, by the workshop's clock.
    """

    def __init__(
        self,
        workshop: "Workshop",
        work: Work[Any],
        slack: Callable[[], float] | None,
        on_end: Callable[[Outcome], object] | None,
        began: float,
    ) -> None:
        self.began = began
        self._workshop = workshop
        self._work = work
        self._slack = slack
        self._on_end = on_end
        self._is_cancelled = False

    def cancel(self) -> None:
        """Give it up: it ends by `CancelledError` before the next turn, unless it has ended."""
        self._is_cancelled = True
        self.wake()

    def wake(self) -> None:
        """Tell the workshop that the slack has changed."""
        self._workshop.wake()


class Workshop:
    """Does pieces of work side by side, as `Rounds` does, in one thread.

    Whoever has less slack goes first: pieces with much of it rest while others have little, and
    pieces with an infinite one do until they have less. Any number of threads may call it.

    Attributes:
        config: how pieces share it.
    """

    def __init__(
        self,
        config: WorkshopConfig | None = None,
        *,
        name: str = "echoic-workshop",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread.

        Args:
            config: how pieces share it.
            name: of the thread.
            clock: seconds.
        """
        self.config = WorkshopConfig() if config is None else config
        self._clock = clock
        self._rounds = Rounds(self.config.patience)
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._live: dict[int, Job] = {}
        self._is_closing = False
        self._error: BaseException | None = None
        self._mean = 1.0  # seconds that a piece takes
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def live(self) -> int:
        """Pieces that have begun."""
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Pieces that wait for a place."""
        return len(self._queue)

    def submit(
        self,
        work: Work[Any],
        *,
        slack: Callable[[], float] | None = None,
        on_end: Callable[[Outcome], object] | None = None,
    ) -> Job:
        """Take a piece of work; all of it is done in the workshop's thread.

        Args:
            work: what is to be done.
            slack: seconds for which nobody needs more of it, infinite where it cannot go on yet;
                called in the thread before each turn. None where somebody always waits.
            on_end: called in the thread with what became of it.

        Raises:
            Busy: as many pieces are there as may be.
            RuntimeError: the workshop is closed, or broken.
        """
        with self._changed:
            if self._is_closing:
                raise RuntimeError("the workshop is closed: no more work is taken") from self._error
            held, config = len(self._queue) + len(self._live), self.config
            if held >= config.places + config.waiting:
                wait = max(1.0, self._mean * (len(self._queue) + 1) / config.places)
                message = f"{held} pieces of work are being done or wait: try again later"
                raise Busy(message, wait)
            job = Job(self, work, slack, on_end, self._clock())
            self._queue.append(job)
            self._changed.notify_all()
        return job

    def wake(self) -> None:
        """Look anew at who can go on."""
        with self._changed:
            self._changed.notify_all()

    def close(self, *, finish: bool = False) -> None:
        """End the thread; calling it again does nothing.

        Args:
            finish: whether to do first what was taken, and not to cancel it.

        Raises:
            RuntimeError: called in the thread itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("close() in the workshop waits for itself: call it elsewhere")
        with self._changed:
            self._is_closing = True
            if not finish:
                for job in (*self._queue, *self._live.values()):
                    job._is_cancelled = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return the workshop."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what was taken is finished where no error is on its way."""
        self.close(finish=kind is None)

    def _run(self) -> None:
        try:
            while (resting := self._prepare()) is not None:
                self._turn(resting)
        except BaseException as error:  # nobody must wait for ever
            log.exception("the workshop broke")
            with self._changed:
                self._is_closing, self._error = True, error
                left = [*self._live.items(), *((None, job) for job in self._queue)]
            broken = RuntimeError("the workshop broke")
            broken.__cause__ = error
            for number, job in left:
                self._settle(job, Outcome(None, broken), number)

    def _prepare(self) -> set[int] | None:
        """Let go and take in; return who rests in the next turn, None when there is none."""
        while True:
            with self._changed:
                if self._is_closing and not self._queue and not self._live:
                    return None
                gone = [(n, job) for n, job in self._live.items() if job._is_cancelled]
                unborn = [job for job in self._queue if job._is_cancelled]
                slacks = {n: _slack_of(job) for n, job in self._live.items()}
                resting = self._resting(slacks)
                job = self._next(slacks)
                if not gone and not unborn and job is None:
                    if len(resting) < len(self._live):
                        return resting
                    self._changed.wait()
                    continue
            for number, cancelled in [*gone, *((None, job) for job in unborn)]:
                if number is not None:
                    self._rounds.drop(number)
                self._settle(cancelled, Outcome(None, CancelledError()), number)
            if job is not None and not job._is_cancelled:
                self._begin(job)

    def _resting(self, slacks: dict[int, float]) -> set[int]:
        leisure = self.config.leisure
        is_hurried = any(slack <= leisure for slack in slacks.values())
        most = leisure if is_hurried else sys.float_info.max
        return {number for number, slack in slacks.items() if slack > most}

    def _next(self, slacks: dict[int, float]) -> Job | None:
        """Return the piece that a place is free for."""
        hurried = sum(slack <= self.config.leisure for slack in slacks.values())
        return self._queue[0] if self._queue and hurried < self.config.places else None

    def _begin(self, job: Job) -> None:
        number = self._rounds.add(job._work)
        with self._changed:
            self._queue.remove(job)
            self._live[number] = job
        self._turn(self._live)  # nobody is asked, but it may be over already

    def _turn(self, resting: Container[int]) -> None:
        for number, outcome in self._rounds.turn(resting):
            self._settle(self._live[number], outcome, number)

    def _settle(self, job: Job, outcome: Outcome, number: int | None) -> None:
        with self._changed:
            if number is None:
                self._queue.remove(job)
            else:
                del self._live[number]
        self._mean += _NEWEST * (self._clock() - job.began - self._mean)
        if job._on_end is not None:
            try:
                job._on_end(outcome)
            except Exception:
                log.exception("what was to be told of the end of a piece of work failed")


def _slack_of(job: Job) -> float:
    return 0.0 if job._slack is None else job._slack()

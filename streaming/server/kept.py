"""One live session on the server: it outlives its socket, so that a client can come back."""

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from echoic.streaming.events import Event
from echoic.streaming.server.errors import ApiError
from echoic.streaming.server.event_log import EventLog
from echoic.streaming.server.metrics import Metrics
from echoic.streaming.server.models import LiveModel

if TYPE_CHECKING:
    from echoic.streaming.scheduler import Stream

# Between two tries to put sound where its queue is full: the client waits meanwhile.
_FULL_SECONDS = 0.05


class Identity(NamedTuple):
    """What never changes about a session.

    Attributes:
        id: its name, which only its client knows.
        model: name of what hears it.
        sample_rate: Hz, at which positions are counted.
        encoding: of its sound.
        channels: of its sound.
    """

    id: str
    model: str
    sample_rate: int
    encoding: str
    channels: int


class KeptSession:
    """A stream, its events, and who listens; lives in the event loop, but for `on_event`.

    Attributes:
        identity: what never changes.
        model: what hears it.
        log: events that may not have been seen.
        stream: in the scheduler; None once it has ended, as its state is large.
        received: samples of the client's that were taken.
        safe: samples that need not be sent again, whatever happens to this process; -1 where not
            even the session's beginning is.
        ended: all was heard and told.
        error: why it ended before.
        finishing: no more sound is taken.
        overlong: it was ended because it is too long.
        left_at: when its client went; None while there is one.
        changed: set when there is something to tell.
        part: ends the socket that is attached; None without.
    """

    def __init__(self, identity: Identity, model: LiveModel, log: EventLog, metrics: Metrics):
        self.identity = identity
        self.model = model
        self.log = log
        self.stream: Stream | None = None
        self.received = 0
        self.safe = -1
        self.ended = False
        self.error: Exception | None = None
        self.finishing = False
        self.overlong = False
        self.left_at: float | None = None
        self.changed = asyncio.Event()
        self.part: Callable[[int, str], None] | None = None
        self.lock = asyncio.Lock()
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._shown = 0

    @property
    def seconds(self) -> float:
        """Sound that was taken."""
        return self.received / self.identity.sample_rate

    def on_event(self, event: Event) -> None:
        """Take an event from the scheduler's thread."""
        self._soon(self._tell, event)

    def on_end(self, error: Exception | None) -> None:
        """Take the end from the scheduler's thread."""
        self._soon(self._end, error)

    def _soon(self, function: Callable[..., None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            return

    def _tell(self, event: Event) -> None:
        self._metrics.events.labels(event.type).inc()
        for word in event.words[self._shown :]:
            self._metrics.word_latency.observe(max(0.0, self.seconds - word.end))
        self._shown = len(event.words) if event.type == "partial" else 0
        self.log.add(event.to_dict())
        self.changed.set()

    def _end(self, error: Exception | None) -> None:
        self.ended, self.error, self.stream = True, error, None
        self.changed.set()

    async def take(self, wav: np.ndarray[Any, Any], rate: int) -> None:
        """Take (C, T) sound; waits while the queue is full, and so does the client.

        Args:
            wav: float32 in [-1, 1] or int16.
            rate: Hz.
        """
        async with self.lock:
            try:
                while self.stream is not None and not self.stream.put(wav, rate):
                    await asyncio.sleep(_FULL_SECONDS)
            except RuntimeError:  # it has ended; if by a failure, `on_end` says why
                return
            if self.stream is None:
                return
            seconds = wav.shape[1] / rate
            self.received += round(seconds * self.identity.sample_rate)
            self._metrics.heard.inc(seconds)

    async def fill_gap(self, until: int, longest: float) -> None:
        """Hear silence for sound that its client has no more, up to a position.

        Raises:
            ApiError: it is too much.
        """
        missing = until - self.received
        rate = self.identity.sample_rate
        if missing <= 0:
            return
        if missing > longest * rate:
            raise ApiError(
                400,
                f"{missing / rate:.0f} s of sound are missing between {self.received} and {until}: "
                "begin another session",
                code="sound_missing",
                param="from",
            )
        for start in range(0, missing, rate):
            size = min(rate, missing - start)
            await self.take(np.zeros((1, size), np.float32), rate)
        self.received = max(self.received, until)

    async def finish(self) -> None:
        """Take no more sound; the rest is heard, and the last events come."""
        async with self.lock:
            if self.finishing or self.ended or self.stream is None:
                return
            self.finishing = True
            try:
                self.stream.finish()
            except RuntimeError as error:
                self._end(error)

    def discard(self) -> None:
        """Give it up: nothing more of it is heard."""
        if self.stream is not None and not self.ended:
            self.stream.finish(discard=True)  # does not wait
        self.ended = True

    def is_over(self, now: float, keep: float) -> bool:
        """Return whether its client has been away for longer than it is kept."""
        return self.left_at is not None and now - self.left_at >= keep

    @property
    def record(self) -> dict[str, Any]:
        """What a checkpoint holds beside the stream's state."""
        return {
            "received": self.received,
            "next_seq": self.log.next_seq,
            "events": self.log.to_list(),
            "shown": self._shown,
        }

    def recall(self, record: dict[str, Any]) -> None:
        """Go on from a checkpoint's record."""
        self.received = self.safe = int(record["received"])
        self.log = EventLog(int(record["next_seq"]), list(record["events"]))
        self._shown = int(record["shown"])


def retry_seconds(wait: float) -> float:
    """Return a time to wait as clients are told: above 0, finite, in tenths."""
    return 1.0 if not math.isfinite(wait) or wait <= 0 else math.ceil(wait * 10) / 10

"""One browser page with live captions: what it has heard, said and shown so far."""

import threading
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from echoic.demo.rendering import line_html, open_html
from echoic.demo.transcript import Captions
from echoic.streaming.events import Event
from echoic.streaming.stats import SessionStats
from echoic.streaming.stream import Stream

Phase = Literal["idle", "running", "finishing"]
Listener = Callable[[Event], None]

# Sound that may wait for the recogniser; beyond it the older half is dropped, and the page says so.
MAX_WAITING_SECONDS = 60.0


class Sound(NamedTuple):
    """A piece of a page's stream.

    Attributes:
        at: samples of the stream before it; a piece that comes twice is heard once.
        samples: (C, T) int16.
    """

    at: int
    samples: np.ndarray[Any, Any]


class LivePage:
    """Takes a page's sound without waiting, and keeps its captions.

    Only the worker of the live session runs the model. Any number of threads may call.

    Attributes:
        captions: what was said since the page was opened or cleared.
        phase: "running" while sound may come, "finishing" while the rest of it is worked on.
        touched: when the page last called, by the clock of the one who keeps pages.
    """

    def __init__(self) -> None:
        self.captions = Captions()
        self.phase: Phase = "idle"
        self.touched = 0.0
        self._lock = threading.RLock()
        self._live: Stream | None = None
        self._heard = 0  # samples of the stream that runs
        self._offset = 0.0  # seconds of the streams before it
        self._error: str | None = None
        self._stats: SessionStats | None = None
        self._dropped = 0.0
        self._is_left = False

    def start(self, open_stream: Callable[[Listener], Stream]) -> None:
        """Begin a stream; its captions follow those of the streams before it.

        Args:
            open_stream: begins one whose events the listener is told.

        Raises:
            RuntimeError: while one is running, or when the page was left.
        """
        with self._lock:
            if self._is_left:
                raise RuntimeError("the page was closed: reload it")
            if self.phase != "idle":
                raise RuntimeError(f"a recording is {self.phase} on this page: stop it first")
            self._live = open_stream(self._take)
            self._heard, self._error, self._stats, self._dropped = 0, None, None, 0.0
            self.phase = "running"

    def hear(self, sound: Sound, sample_rate: int) -> None:
        """Put sound into the queue; returns at once.

        Raises:
            RuntimeError: when no stream runs, sound is missing, or the recogniser has failed.
            TypeError: for sound of another type.
            ValueError: for sound of another shape, or an impossible rate.
        """
        with self._lock:
            if self._live is None or self.phase != "running":
                raise RuntimeError("no recording is running on this page: press Start")
            if sound.at > self._heard:
                raise RuntimeError(
                    f"the sound begins at sample {sound.at}, but only {self._heard} have come: "
                    "press Start again"
                )
            fresh = sound.samples[:, self._heard - sound.at :]
            self._live.put(fresh, sample_rate)
            self._heard += fresh.shape[1]

    def stop(self) -> None:
        """End the stream; returns at once, and the rest of the sound is still worked on."""
        with self._lock:
            if self.phase == "running":
                self.phase = "finishing"
                self._in_background(lambda live: live.close())

    def leave(self) -> None:
        """Forget the stream and free its worker: nobody looks at the page any more."""
        with self._lock:
            self._is_left = True
            if self._live is not None:
                self.phase = "finishing"
                self._in_background(lambda live: live.close(discard=True))

    def clear(self) -> None:
        """Forget the captions; a stream that runs goes on."""
        with self._lock:
            self.captions = self.captions.cleared()

    def look(self, seen: int) -> dict[str, Any]:
        """Return what is new for a page that has already shown so many lines.

        Returns:
            `lines`, HTML of those after `seen`; `total`, the number of all; `open`, HTML of the
            line that is being said; and the status.
        """
        with self._lock:
            captions, total = self.captions, len(self.captions.closed)
            new = captions.closed[seen:] if 0 <= seen <= total else captions.closed
            return {
                "lines": [line_html(line) for line in new],
                "from": total - len(new),
                "total": total,
                "open": open_html(captions),
                **self._status(),
            }

    def _status(self) -> dict[str, Any]:
        live, stats = self._live, self._stats
        if live is not None:
            stats, self._dropped = live.stats, live.dropped_seconds
        return {
            "phase": self.phase,
            "error": self._error,
            "said": self.captions.said,
            "newest": [end - self._offset for end in self.captions.newest],
            "behind": 0.0 if live is None else live.behind,
            "dropped": self._dropped,
            "audio": 0.0 if stats is None else stats.audio_seconds,
            "rtf": None if stats is None or not stats.audio_seconds else stats.rtf,
            "chunk_ms": None if stats is None or not stats.chunks else stats.chunk_ms_p95,
        }

    def _take(self, event: Event) -> None:
        with self._lock:
            self.captions = self.captions.after(event.shifted(self._offset))

    def _in_background(self, close: Callable[[Stream], None]) -> None:
        """Close the live session in a thread of its own: it may take as long as the model does."""
        live = self._live
        if live is not None:
            work = threading.Thread(target=self._finish, args=(live, close), daemon=True)
            work.start()

    def _finish(self, live: Stream, close: Callable[[Stream], None]) -> None:
        failure = None
        try:
            close(live)
        except RuntimeError as error:
            failure = str(error)
        with self._lock:
            if self._live is live:  # not closed by another thread
                self._stats, self._dropped = live.stats, live.dropped_seconds
                self._offset += live.session.position
                self.captions = self.captions.ended()
                self._live, self.phase, self._error = None, "idle", failure

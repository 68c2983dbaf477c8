"""All pages with live captions: each has its own, they share recognisers and one scheduler."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from echoic.demo.exports import export
from echoic.demo.fields import integer, octets, page_id
from echoic.demo.page import MAX_WAITING_SECONDS, Listener, LivePage, Sound
from echoic.streaming.admission import AdmissionConfig
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.scheduler import Scheduler, SchedulerConfig
from echoic.streaming.session import SessionConfig
from echoic.streaming.stream import Stream

CHUNK_CHOICES = (160, 320, 640, 1000)  # milliseconds
_MAX_CHANNELS = 8
_MAX_SECONDS = 10.0  # of sound in one request


class LiveHub:
    """Answers the requests of pages; never runs the model itself.

    Requests and answers are plain values, and every wrong request has an answer with `problem`.

    Attributes:
        max_streams: recordings that may run at once.
        max_pages: pages whose captions are kept; beyond, those that were quiet longest are dropped.
        idle_seconds: a recording of which nothing was heard for so long is ended.
    """

    def __init__(
        self,
        load: Callable[[int], Recognizer[Any]],
        *,
        chunk_choices: tuple[int, ...] = CHUNK_CHOICES,
        max_streams: int = 8,
        max_pages: int = 200,
        idle_seconds: float = 60.0,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare for pages.

        Args:
            load: makes a recogniser that hears so many milliseconds at once.
            chunk_choices: the milliseconds that a page may choose.
            max_streams: see the attribute.
            max_pages: see the attribute.
            idle_seconds: see the attribute.
            config: how streams are heard.
            clock: seconds, for `idle_seconds`.
        """
        self.max_streams = max_streams
        self.max_pages = max_pages
        self.idle_seconds = idle_seconds
        self.chunk_choices = chunk_choices
        self._load = load
        self._config = config
        self._clock = clock
        self._pages: dict[str, LivePage] = {}
        self._lock = threading.Lock()
        self._recognizers: dict[int, Recognizer[Any]] = {}
        few = AdmissionConfig(max_streams=max_streams, trial_streams=max_streams)
        self._scheduler = Scheduler(SchedulerConfig(admission=few))
        self._loading = threading.Lock()
        self._actions: dict[str, Callable[[LivePage, Mapping[str, Any]], dict[str, Any]]] = {
            "start": self._start,
            "hear": self._hear,
            "look": self._look,
            "stop": self._stop,
            "clear": self._clear,
            "export": self._export,
        }

    @property
    def num_pages(self) -> int:
        """Pages that are known."""
        return len(self._pages)

    @property
    def num_streams(self) -> int:
        """Recordings that run, or whose rest is worked on."""
        return sum(page.phase != "idle" for page in list(self._pages.values()))

    def prepare(self, chunk_ms: int) -> Recognizer[Any]:
        """Return the recogniser for a chunk size; the first call loads it, the others wait."""
        with self._loading:
            if chunk_ms not in self._recognizers:
                self._recognizers[chunk_ms] = self._load(chunk_ms)
            return self._recognizers[chunk_ms]

    def handle(self, request: Any) -> dict[str, Any]:
        """Answer a request of a page.

        Args:
            request: `page`, an id that only this page knows; `do`, one of start, hear, look, stop,
                clear and export; and what that needs.

        Returns:
            The answer; with `problem`, a sentence, when it could not be done.
        """
        try:
            name = page_id(request)
            act = self._actions.get(str(request.get("do")))
            if act is None:
                raise ValueError(f"no such request: {request.get('do')!r}")
            return act(self._page(name), request)
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            return {"problem": str(error)}

    def leave(self, name: str) -> None:
        """Forget a page, and free what it used."""
        with self._lock:
            page = self._pages.pop(name, None)
        if page is not None:
            page.leave()

    def close(self) -> None:
        """Forget all pages, and end the worker."""
        for name in list(self._pages):
            self.leave(name)
        self._scheduler.close()

    def _page(self, name: str) -> LivePage:
        now = self._clock()
        with self._lock:
            page = self._pages.setdefault(name, LivePage())
            page.touched = now
            quiet = sorted(self._pages, key=lambda name: self._pages[name].touched)
            surplus = quiet[: max(0, len(quiet) - self.max_pages)]
            gone = [self._pages.pop(name) for name in surplus]
            late = [p for p in self._pages.values() if now - p.touched > self.idle_seconds]
        for other in gone:
            other.leave()
        for other in late:
            other.stop()
        return page

    def _start(self, page: LivePage, request: Mapping[str, Any]) -> dict[str, Any]:
        chunk_ms, rate = integer(request, "chunk_ms"), integer(request, "rate")
        if chunk_ms not in self.chunk_choices:
            choices = ", ".join(map(str, self.chunk_choices))
            raise ValueError(f"chunk_ms is {chunk_ms}, expected one of {choices}")
        recognizer = self.prepare(chunk_ms)

        def open_stream(listener: Listener) -> Stream:
            return self._scheduler.open(
                recognizer,
                sample_rate=rate,
                config=self._config,
                max_seconds=MAX_WAITING_SECONDS,
                policy="drop_oldest",
                on_event=listener,
            )

        with self._lock:  # two pages must not both be the last one
            if page.phase == "idle" and self.num_streams >= self.max_streams:
                raise RuntimeError(
                    f"{self.max_streams} recordings are running, and more would be too slow for "
                    "all: try again later"
                )
            page.start(open_stream)
        return page.look(integer(request, "seen"))

    def _hear(self, page: LivePage, request: Mapping[str, Any]) -> dict[str, Any]:
        rate = integer(request, "rate")
        page.hear(decode_sound(request, rate), rate)
        return page.look(integer(request, "seen"))

    def _look(self, page: LivePage, request: Mapping[str, Any]) -> dict[str, Any]:
        return page.look(integer(request, "seen"))

    def _stop(self, page: LivePage, request: Mapping[str, Any]) -> dict[str, Any]:
        page.stop()
        return page.look(integer(request, "seen"))

    def _clear(self, page: LivePage, request: Mapping[str, Any]) -> dict[str, Any]:
        page.clear()
        return page.look(0)

    def _export(self, page: LivePage, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"text": export(page.captions, str(request.get("kind")))}


def decode_sound(request: Mapping[str, Any], rate: int) -> Sound:
    """Return the sound of a request: `pcm`, base64 of little-endian int16, channels interleaved.

    Raises:
        ValueError: for anything else, or more than ten seconds.
    """
    channels = integer(request, "channels", 1)
    if not 1 <= channels <= _MAX_CHANNELS:
        raise ValueError(f"channels is {channels}, expected 1 to {_MAX_CHANNELS}")
    pcm = request.get("pcm")
    if not isinstance(pcm, str):
        raise ValueError("the request has no pcm: expected base64 of int16 samples")
    if len(pcm) > 4 * (_MAX_SECONDS * max(1, rate) * 2 * channels) / 3 + 4:
        raise ValueError(f"the sound is longer than {_MAX_SECONDS:g} s: send it in pieces")
    raw = octets(request, "pcm")
    if len(raw) % (2 * channels):
        raise ValueError(
            f"pcm has {len(raw)} bytes, expected a multiple of {2 * channels}: int16 of {channels} "
            "channels"
        )
    samples = np.frombuffer(raw, dtype="<i2").astype(np.int16).reshape(-1, channels).T
    return Sound(integer(request, "at", 0), samples)

"""A browser page at a desk: the file it brought, the job that is done for it, and what came out."""

import threading
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from echoic.demo.fields import integer, octets, text, written

M = TypeVar("M")
Phase = Literal["idle", "waiting", "running"]

_MAX_NAME = 200  # characters of a file's name
_PIECE_BYTES = 2**20  # of a track, in one answer
_MAX_WAIT_MS = 500


class UnwantedError(Exception):
    """Nobody waits for this job any more: the page was left, or its user pressed Stop."""


class DeskPage(Generic[M]):
    """What is kept for a page. The worker and any number of requests may call.

    Attributes:
        memory: what the desk's subject keeps between jobs; only jobs and answers touch it.
        phase: "waiting" while other pages' jobs are done, "running" while its own is.
        file: what was brought last, as bytes.
        file_name: as the browser calls it.
        touched: when the page last called, by the clock of the one who keeps pages.
    """

    def __init__(self, memory: M) -> None:
        self.memory = memory
        self.phase: Phase = "idle"
        self.file = bytearray()
        self.file_name = ""
        self.touched = 0.0
        self._file_size = 0
        self._tracks: dict[str, bytearray] = {}
        self._news: dict[str, Any] = {}
        self._result: dict[str, Any] | None = None
        self._problem: str | None = None
        self._version = 0
        self._unwanted = False
        self._is_watched = False
        self._changed = threading.Condition()

    # ---- requests

    def bring(self, request: Mapping[str, Any], max_bytes: int) -> dict[str, Any]:
        """Take a piece of a file; one that comes twice is taken once.

        Args:
            request: `at`, where it belongs; `data`, base64; and with the first `name` and `size`.
            max_bytes: of the whole file.

        Returns:
            `have`, the bytes that have come.

        Raises:
            RuntimeError: while a job runs, or when a piece is missing.
            ValueError: a file that is too large or empty, or pieces that are none.
        """
        at, data = integer(request, "at"), octets(request, "data")
        with self._changed:
            if self.phase != "idle":
                raise RuntimeError("this page is busy: wait until it is done, or press Stop")
            if at == 0:
                size = integer(request, "size")
                name = text(request, "name", longest=_MAX_NAME) or "recording"
                _check_size(name, size, max_bytes)
                self.file, self.file_name, self._file_size = bytearray(), name, size
            if at > len(self.file):
                raise RuntimeError("a piece of the file got lost: give it again")
            self.file += data[len(self.file) - at :]
            if len(self.file) > self._file_size:
                self.file, self._file_size = bytearray(), 0
                raise ValueError("the file is longer than it said: give it again")
            return {"have": len(self.file)}

    def look(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Tell how the job is going, at once or when something is new.

        Args:
            request: `version` and `wait`, milliseconds to wait for another version than that;
                `track` and `at`, whose samples are wanted from which byte on; `result` false,
                when that is not.

        Returns:
            `phase`, `version`, the job's news; when it is over `result` or `problem`; `pcm`.
        """
        seen = integer(request, "version", 0)
        seconds = min(integer(request, "wait", 0), _MAX_WAIT_MS) / 1000
        with self._changed:
            # Each waiting request holds a thread of the server: one a page, and only of busy ones.
            if seconds and not self._is_watched:
                self._is_watched = True
                self._changed.wait_for(
                    lambda: self._version != seen or self.phase == "idle", seconds
                )
                self._is_watched = False
            answer: dict[str, Any] = {
                **self._news,
                "phase": self.phase,
                "version": self._version,
                "problem": self._problem,
            }
            if self.phase == "idle" and request.get("result") is not False:
                answer["result"] = self._result
            if "track" in request:
                track = self._tracks.get(str(request["track"]), bytearray())
                at = integer(request, "at")
                answer["pcm"] = written(track[at : at + _PIECE_BYTES])
                answer["bytes"] = len(track)
            return answer

    def stop(self) -> None:
        """Let the job end at its next step; what has come out so far stays."""
        with self._changed:
            self._unwanted = self.phase != "idle"

    def drop_file(self) -> None:
        """Forget the file, which is worked into something else."""
        with self._changed:
            self.file, self._file_size = bytearray(), 0

    def track(self, name: str) -> bytes:
        """Return the samples of a track, little-endian int16; none where it is not there."""
        with self._changed:
            return bytes(self._tracks.get(name, b""))

    # ---- the worker

    def begin(self) -> None:
        """Put the page in the row.

        Raises:
            RuntimeError: when it is there already, or its file has not come whole.
        """
        with self._changed:
            if self.phase != "idle":
                raise RuntimeError("this page is busy: wait until it is done, or press Stop")
            if len(self.file) < self._file_size:
                raise RuntimeError("the file has not come whole: give it again")
            self._unwanted = False
            self._problem, self._result = None, None
            self._set("waiting", {})

    def run(self) -> None:
        """Say that the job has begun.

        Raises:
            UnwantedError: nobody waits for it any more.
        """
        with self._changed:
            self._set("running", {})
            self._check()

    def end(self, result: dict[str, Any] | None, problem: str | None = None) -> None:
        """Say what came out."""
        with self._changed:
            self._result, self._problem = result, problem
            self._set("idle", self._news)

    def tell(self, **news: Any) -> None:
        """Say how the job is going; later news take the place of earlier ones of the same name.

        Raises:
            UnwantedError: nobody waits for it any more.
        """
        with self._changed:
            self._set(self.phase, {**self._news, **news})
            self._check()

    def record(self, track: str, wav: np.ndarray[Any, Any], *, anew: bool = False) -> None:
        """Add samples to a track that the browser can play.

        Args:
            track: its name.
            wav: (T,) floats in [-1, 1].
            anew: whether the track begins here.

        Raises:
            UnwantedError: nobody waits for it any more.
        """
        samples = np.round(np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes()
        with self._changed:
            if anew:
                self._tracks[track] = bytearray()
            self._tracks.setdefault(track, bytearray()).extend(samples)
            self._set(self.phase, self._news)
            self._check()

    def _set(self, phase: Phase, news: dict[str, Any]) -> None:
        self.phase, self._news = phase, news
        self._version += 1
        self._changed.notify_all()

    def _check(self) -> None:
        if self._unwanted:
            raise UnwantedError


def _check_size(name: str, size: int, max_bytes: int) -> None:
    """Raise ValueError for a file that is empty or too large."""
    if size == 0:
        raise ValueError(f"{name} is empty: give a recording")
    if size > max_bytes:
        raise ValueError(
            f"{name} has {size / 1e6:.0f} MB, at most {max_bytes / 1e6:.0f} MB are taken here; the "
            "command line takes files of any size"
        )

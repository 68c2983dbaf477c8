"""The two streams of a batch: results on stdout; messages and the progress bar on stderr."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from tqdm import tqdm

from echoic.asr.batch.errors import OutputError, printable
from echoic.asr.source import Source

Measure = Callable[[Source], float | None]
"""Returns a source's length in seconds, or None where it cannot be told; never raises."""


class Console:
    """Says things where they belong.

    The bar counts seconds of audio and is drawn only when stderr is a terminal.
    """

    def __init__(self, *, quiet: bool = False):
        self._quiet = quiet
        self._bar: _Bar | None = None
        self._stop = threading.Event()

    def note(self, text: str) -> None:
        """Say on stderr what is good to know; nothing when quiet."""
        if not self._quiet:
            self._write(f"echoic: {text}\n", sys.stderr)

    def error(self, name: str, message: str) -> None:
        """Say on stderr, in one line, what is wrong with a file."""
        self._write(f"echoic: {printable(name)}: {message}\n", sys.stderr)

    def warning(self, text: str) -> None:
        """Say on stderr that a result is not what it could be, also when quiet."""
        self._write(f"echoic: warning: {printable(text)}\n", sys.stderr)

    def note_error(self, text: str) -> None:
        """Say on stderr what is wrong with the whole command, also when quiet."""
        self._write(f"echoic: {text}\n", sys.stderr)

    def raw_error(self, text: str) -> None:
        """Put text on stderr as it is: a traceback that was asked for."""
        self._write(text, sys.stderr)

    def result(self, text: str) -> None:
        """Put a result on stdout, at once.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: it cannot be written.
        """
        try:
            self._write(text, sys.stdout)
        except BrokenPipeError:
            _silence_stdout()
            raise
        except OSError as e:
            _silence_stdout()
            raise OutputError("standard output", e, fatal=True) from e

    def start_bar(self, sources: Sequence[Source], measure: Measure) -> None:
        """Show the bar, if there is a terminal; the total comes when all files are measured."""
        if self._quiet or not sys.stderr.isatty():
            return
        self._bar = _Bar(
            total=None,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.2,
            bar_format="{percentage:3.0f}%|{bar}| {done}/{whole} of audio, {speed}"
            " [{elapsed}<{remaining}]",
        )
        # Headers of 100,000 files take a while; the work does not wait for them.
        threading.Thread(target=self._measure_all, args=(sources, measure), daemon=True).start()

    def advance(self, seconds: float) -> None:
        """Count seconds of audio as done."""
        if self._bar is not None:
            self._bar.update(seconds)

    def close(self) -> None:
        """Take the bar away."""
        self._stop.set()
        if self._bar is not None:
            self._bar.leave = False
            self._bar.close()
            self._bar = None

    def _measure_all(self, sources: Sequence[Source], measure: Measure) -> None:
        total = 0.0
        for source in sources:
            if self._stop.is_set():
                return
            total += measure(source) or 0.0
        if self._bar is not None and total:
            self._bar.total = total

    def _write(self, text: str, stream: TextIO) -> None:
        with tqdm.external_write_mode(file=stream):
            try:
                stream.write(text)
            except UnicodeEncodeError:  # a terminal that is not UTF-8
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()


class _Bar(tqdm):  # type: ignore[type-arg]  # tqdm is generic in its stubs only
    """A bar over seconds of audio: hours, minutes and seconds, and times real time."""

    @property
    def format_dict(self) -> dict[str, Any]:
        values = dict(super().format_dict)
        rate = values["rate"] or values["n"] / max(values["elapsed"], 1e-9)
        return values | {
            "done": clock(values["n"]),
            "whole": clock(values["total"]) if values["total"] else "?",
            "speed": f"{rate:.1f}x real time",
        }


class Stopwatch:
    """Wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return time.monotonic() - self._start


def _silence_stdout() -> None:
    """Let what is still buffered go nowhere, or the interpreter would complain at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def clock(seconds: float) -> str:
    """Return "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

"""What a command says on stderr: notes, problems, warnings, and the progress bar."""

import contextlib
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from echoic.audio.errors import AudioWarning, one_line
from echoic.audio.log_lines import log_lines


class Console:
    """Says things, each in a line; the bar is drawn only when stderr is a terminal.

    Args:
        quiet: leave out notes and the bar.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: _Bar | None = None
        self._stop = threading.Event()
        self._start = time.monotonic()

    def note(self, text: str) -> None:
        """Say what is good to know; nothing when quiet."""
        if not self._quiet:
            self._write(text)

    def problem(self, text: str) -> None:
        """Say what is wrong, also when quiet."""
        self._write(text)

    def traceback(self, text: str) -> None:
        """Say in many lines where an error comes from: that was asked for."""
        with tqdm.external_write_mode(file=sys.stderr):
            sys.stderr.write(text)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the work began."""
        return time.monotonic() - self._start

    def begin(self, lengths: Sequence[Callable[[], float | None]] = ()) -> None:
        """Let the clock begin, and show the bar.

        Args:
            lengths: tell the seconds of sound of each input, None where it is not known.
        """
        self._start = time.monotonic()
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
        # Headers of many files take a while; the work does not wait for them.
        threading.Thread(target=self._measure, args=(lengths,), daemon=True).start()

    def advance(self, seconds: float) -> None:
        """Count seconds of sound as done."""
        if self._bar is not None:
            self._bar.update(seconds)

    def close(self) -> None:
        """Take the bar away."""
        self._stop.set()
        if self._bar is not None:
            self._bar.leave = False
            self._bar.close()
            self._bar = None

    @contextlib.contextmanager
    def warnings_in_lines(self, *, debug: bool) -> Iterator[None]:
        """Tell each warning about a recording once, and the log; libraries' only for `debug`."""
        told: set[str] = set()

        def show(message: Warning | str, category: type[Warning], *where: Any, **_: Any) -> None:
            if not issubclass(category, AudioWarning):
                if debug:
                    self.traceback(warnings.formatwarning(message, category, *where[:2]))
            elif str(message) not in told:
                told.add(str(message))
                warn(str(message))

        def warn(message: str) -> None:
            self.problem(f"warning: {message}")

        with warnings.catch_warnings(), log_lines(self.note, warn):
            warnings.simplefilter("always", AudioWarning)
            warnings.showwarning = show
            yield

    def _measure(self, lengths: Sequence[Callable[[], float | None]]) -> None:
        total = 0.0
        for length in lengths:
            if self._stop.is_set():
                return
            total += length() or 0.0
        bar = self._bar
        if bar is not None and total:
            bar.total = total

    def _write(self, text: str) -> None:
        line = f"echoic: {one_line(text)}\n"
        with tqdm.external_write_mode(file=sys.stderr):
            try:
                sys.stderr.write(line)
            except UnicodeEncodeError:  # a terminal that is not UTF-8
                encoding = sys.stderr.encoding or "ascii"
                sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
            sys.stderr.flush()


class _Bar(tqdm):  # type: ignore[type-arg]  # tqdm is generic in its stubs only
    """A bar over seconds of sound, which tells how many times real time the work is."""

    @property
    def format_dict(self) -> dict[str, Any]:
        values = dict(super().format_dict)
        rate = values["rate"] or values["n"] / max(values["elapsed"], 1e-9)
        return values | {
            "done": _clock(values["n"]),
            "whole": _clock(values["total"]) if values["total"] else "?",
            "speed": f"{rate:.1f}x real time",
        }


def times_real_time(seconds: float, elapsed: float) -> str:
    """Return how quickly sound was worked on: "8.4 times real time"."""
    return f"{seconds / max(elapsed, 1e-9):.3g} times real time"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

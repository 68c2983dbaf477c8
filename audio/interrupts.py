"""Ctrl-C and SIGTERM, so that neither is lost and no half-written file is left."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Remembers that the user wants to stop.

    A signal raises KeyboardInterrupt where the program is, but not inside soundfile's callbacks:
    what is raised there is printed and dropped by the C library around them. `check` raises it
    afterwards.
    """

    def __init__(self) -> None:
        self._pending = False

    def check(self) -> None:
        """Raise KeyboardInterrupt when a signal came where it could not be raised."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def handle(self, _signal: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if _in_callback(frame):
            self._pending = True
        else:
            raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Handle both signals for a while; SIGTERM is a scheduler's Ctrl-C."""
    found = Interrupts()
    previous: dict[signal.Signals, object] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, found.handle)
    except ValueError:  # not the main thread: signals are somebody else's
        yield found
        return
    try:
        yield found
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def _in_callback(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_name.startswith("vio_") and code.co_filename.endswith("soundfile.py"):
            return True
        frame = frame.f_back
    return False

"""Ctrl-C and SIGTERM as a wish to stop soon: what was heard is still told."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Whether the user wants to stop; a second signal does not wait for anything.

    Attributes:
        requested: set by the first signal. A plain attribute: a signal comes in the middle of
            anything, and a lock that the same thread holds would never open.
    """

    def __init__(self) -> None:
        self.requested = False

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Take a signal.

        Raises:
            KeyboardInterrupt: for the second one.
        """
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Handle both signals for a while; in other threads they are somebody else's."""
        previous: dict[signal.Signals, object] = {}
        with contextlib.suppress(ValueError):  # not the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                previous[number] = signal.signal(number, self.handle)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

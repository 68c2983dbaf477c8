"""Where events go: captions on a terminal, lines of text, lines of JSON."""

import os
import sys
from collections.abc import Callable
from typing import Protocol

from echoic.asr.batch.console import Console
from echoic.asr.batch.errors import printable
from echoic.asr.live.captions import Captions
from echoic.asr.live.screen import Screen, reflows, terminal_size
from echoic.streaming.events import Event


class Printer(Protocol):
    """Shows the events of a stream."""

    def show(self, event: Event) -> None:
        """Take an event.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: it cannot be written.
        """
        ...

    def aside(self, action: Callable[[], None]) -> None:
        """Let `action` print a line of its own on stderr."""
        ...

    def close(self) -> None:
        """Leave the output at the beginning of a line."""
        ...


class Lines:
    """One line an event, flushed at once.

    Args:
        put: writes text on stdout.
        line_of: the line for an event, without its end; None for events that have none.
    """

    def __init__(self, put: Callable[[str], None], line_of: Callable[[Event], str | None]) -> None:
        self._put = put
        self._line_of = line_of

    def show(self, event: Event) -> None:
        """Print an event's line."""
        line = self._line_of(event)
        if line is not None:
            self._put(f"{line}\n")

    def aside(self, action: Callable[[], None]) -> None:
        """Lines do not stand in the way of others."""
        action()

    def close(self) -> None:
        """Lines are always complete."""


def final_text(event: Event) -> str | None:
    """Return the text of a final."""
    return printable(event.text) if event.type == "final" and event.text else None


def choose_printer(console: Console, *, json_lines: bool) -> Printer:
    """Return what suits standard output: captions only on a terminal that can move its cursor."""
    if json_lines:
        return Lines(console.result, Event.to_json)
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return Lines(console.result, final_text)
    descriptor = sys.stdout.fileno()
    screen = Screen(console.result, lambda: terminal_size(descriptor), reflows=reflows(os.environ))
    return Captions(screen)

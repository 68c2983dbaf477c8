"""A terminal for tests, and events to show on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyte

from echoic.asr.live.captions import Captions
from echoic.asr.live.screen import Screen, Size
from echoic.streaming.events import Event, EventWord

DIM = 2
ITALICS = 3  # pyte knows no dim text


class _Screen(pyte.HistoryScreen):
    def select_graphic_rendition(self, *attrs: int, **kwargs: Any) -> None:
        changed = [ITALICS if a == DIM else a for a in attrs]
        super().select_graphic_rendition(*changed, **kwargs)


class Terminal:
    """What a user sees; `written` notes each piece of output."""

    def __init__(self, columns: int = 40, lines: int = 10) -> None:
        self._start(columns, lines)
        self.written: list[str] = []

    def _start(self, columns: int, lines: int) -> None:
        self.screen = _Screen(columns, lines, history=10_000, ratio=0.5)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> None:
        self.written.append(text)
        self._stream.feed(text)

    def size(self) -> Size:
        return Size(self.screen.columns, self.screen.lines)

    def cut(self, columns: int, lines: int) -> None:
        """Change the size as old terminals do: rows are cut, or stay as they are."""
        self.screen.resize(lines, columns)

    def reflow(self, columns: int, lines: int) -> None:
        """Change the size as new terminals do: rows that are too long are broken anew."""
        rows = self.rows()
        x, y = self.screen.cursor.x, self.screen.cursor.y + len(self.screen.history.top)
        assert y == len(rows) - 1, "the cursor is not in the last row"
        rows[-1] = rows[-1].ljust(x)
        self._start(columns, lines)
        self._stream.feed("\r\n".join(rows))

    def rows(self) -> list[str]:
        """Return all rows from the first on, scrolled away or not, to the last with text."""
        old = [_text(line, self.screen.columns) for line in self.screen.history.top]
        new = [_text(self.screen.buffer[y], self.screen.columns) for y in range(self.screen.lines)]
        while len(new) > self.screen.cursor.y + 1 and not new[-1]:
            new.pop()
        return [*old, *new]

    def dim(self) -> str:
        """Return the dim text on the screen, rows joined by blanks."""
        rows = []
        for y in range(self.screen.lines):
            line = self.screen.buffer[y]
            marked = [line[x].data if line[x].italics else " " for x in range(self.screen.columns)]
            rows.append("".join(marked))
        return " ".join(" ".join(rows).split())


def _text(line: Any, columns: int) -> str:
    return "".join(line[x].data for x in range(columns)).rstrip(" ")


def captions(terminal: Terminal, *, reflows: bool = False) -> Captions:
    return Captions(Screen(terminal.write, terminal.size, reflows=reflows))


def words(texts: Sequence[str], start: float = 0.0) -> tuple[EventWord, ...]:
    return tuple(
        EventWord(text, start + i / 2, start + (i + 1) / 2, 0.9) for i, text in enumerate(texts)
    )


def partial(text: str, stable: int = 0, *, now: float = 1.0, ms: float = 0.0) -> Event:
    found = words(text.split())
    return Event("partial", text, 0.0, now, found, stable, now, ms)


def final(text: str, *, now: float = 1.0, ms: float = 0.0) -> Event:
    found = words(text.split())
    return Event("final", text, 0.0, now, found, len(found), now, ms)


def endpoint(now: float = 1.0) -> Event:
    return Event("endpoint", "", now, now, audio_time=now)


@dataclass
class Clock:
    """Time that passes only while somebody sleeps, or by hand."""

    now: float = 100.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

"""Live captions: a paragraph for each utterance, its open words dim until they stand firm."""

from collections.abc import Callable, Sequence

from echoic.asr.batch.errors import printable
from echoic.asr.live.layout import Cell, Row, Slice, cells, wrap
from echoic.asr.live.screen import Screen
from echoic.streaming.events import Event, EventWord


class Captions:
    """Shows events on a terminal.

    Final text and words that will not change are plain, what may still change is dim. Rows of final
    text are never touched again.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._closed = ""  # final text of the paragraph, but for rows that are done
        self._open: Sequence[EventWord] = ()
        self._open_text = ""
        self._stable = 0

    def show(self, event: Event) -> None:
        """Take an event."""
        if event.type == "endpoint":
            self.close()
            return
        if event.type == "final":
            self._closed = _joined(self._closed, _clean(event.text))
            # What was open and is not closed yet comes again with the next event.
            self._keep_open(self._open[len(event.words) :])
        else:
            self._open, self._open_text, self._stable = event.words, event.text, event.stable
        self._draw()

    def aside(self, action: Callable[[], None]) -> None:
        """Do something that prints lines, with the captions out of the way."""
        self._screen.draw([], [])
        action()
        self._draw()

    def close(self) -> None:
        """End the paragraph; the cursor is at the beginning of a row."""
        self._keep_open(())
        text = cells(self._closed)
        self._screen.draw(_rows(text, wrap(text, self._screen.columns)), [])
        self._closed = ""

    def _keep_open(self, words: Sequence[EventWord]) -> None:
        starts = _places(self._open_text, self._open)
        kept = len(self._open) - len(words)
        self._open_text = self._open_text[starts[kept] :] if words else ""
        self._stable = max(0, self._stable - kept)
        self._open = words

    def _draw(self) -> None:
        columns = self._screen.columns
        closed = cells(self._closed)
        done = wrap(closed, columns)[:-1]  # the last row may still take a word
        if done:
            self._closed = "".join(c.text for c in closed[done[-1].end :]).lstrip(" ")
        text = self._paragraph()
        self._screen.draw(_rows(closed, done), _rows(text, wrap(text, columns)))

    def _paragraph(self) -> list[Cell]:
        starts = [*_places(self._open_text, self._open), len(self._open_text)]
        firm = self._open_text[: starts[self._stable]]
        before = _joined(self._closed, _clean(firm))
        whole = _joined(self._closed, _clean(self._open_text))
        return cells(whole, dim_from=len(before))


def _places(text: str, words: Sequence[EventWord]) -> list[int]:
    """Return where each word begins in the text of its event, which may have no blanks."""
    starts, at = [], 0
    for word in words:
        found = text.find(word.text, at)
        starts.append(at if found < 0 else found)
        at = starts[-1] + len(word.text)
    return starts


def _rows(text: Sequence[Cell], slices: Sequence[Slice]) -> list[Row]:
    return [tuple(text[s.start : s.end]) for s in slices]


def _clean(text: str) -> str:
    return printable(text) if text else ""


def _joined(a: str, b: str) -> str:
    return f"{a} {b}" if a and b else a or b

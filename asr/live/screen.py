"""The last rows of a terminal, drawn anew only where they have changed.

Rows are ended by us and leave the last column free, so no terminal breaks them itself and its
cursor is always where we think it is. Control sequences are those that every terminal knows
(ECMA-48: CUU, CUD, CUF, EL, ED, SGR).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from echoic.asr.live.layout import Cell, Row, common_length, physical_rows, width_of

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_ERASE_RIGHT, _ERASE_BELOW = "\x1b[K", "\x1b[J"


class Size(NamedTuple):
    """Of a terminal, in characters."""

    columns: int
    lines: int


class Screen:
    """Draws at the end of what a terminal shows; what stood there before is left alone.

    Args:
        write: puts text on the terminal at once.
        size: of the terminal now.
        reflows: whether the terminal breaks rows anew when it becomes narrower; others cut them.
    """

    def __init__(
        self, write: Callable[[str], None], size: Callable[[], Size], *, reflows: bool = True
    ) -> None:
        self._write = write
        self._size = size
        self._reflows = reflows
        self._rows: list[Row] = [()]
        self._drawn_on = size()

    @property
    def columns(self) -> int:
        """Columns to fill: the last one stays free."""
        return max(2, self._size().columns - 1)

    def draw(self, done: Sequence[Row], live: Sequence[Row]) -> None:
        """Show rows in place of the live ones of the last call.

        Args:
            done: they stay as they are and scroll away with time.
            live: they stand below and may change; of more than fit, the last ones are shown. None
                leave an empty row for the cursor.
        """
        erased = self._adapted()
        room = max(1, self._drawn_on.lines - 1)
        shown = [*live[-room:]] or [()]
        drawn = erased + _difference(self._rows, [*done, *shown])
        self._rows = shown
        if drawn:
            self._write(drawn)

    def _adapted(self) -> str:
        """Return what takes the live rows away when the terminal has another size now."""
        size = self._size()
        if size == self._drawn_on:
            return ""
        narrower = size.columns < self._drawn_on.columns
        self._drawn_on = size
        height = len(self._rows)
        if narrower and self._reflows:
            height = sum(physical_rows(row, size.columns) for row in self._rows)
        self._rows = [()]
        return _up(min(height, size.lines) - 1) + "\r" + _ERASE_BELOW


def reflows(environment: Mapping[str, str]) -> bool:
    """Tell by its environment whether a terminal breaks rows anew; all but a few old ones do."""
    if "TMUX" in environment:
        return True
    old = environment.get("TERM", "").startswith(("linux", "rxvt", "screen", "vt"))
    return not old and "XTERM_VERSION" not in environment


def terminal_size(descriptor: int) -> Size:
    """Return the size of a terminal, 80 columns and 24 lines where it does not tell."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return Size(80, 24)
    return Size(size.columns or 80, size.lines or 24)


def _difference(old: Sequence[Row], new: Sequence[Row]) -> str:
    """Return what makes `new` of `old`; the cursor is at the end of the last row, and stays so."""
    parts: list[str] = []
    at = len(old) - 1
    for place, row in enumerate(new):
        if place >= len(old):
            parts += [_down(len(old) - 1 - at) if at < len(old) - 1 else "", "\r\n", _styled(row)]
            at = place
            continue
        same = common_length(row, old[place])
        if same == len(row) == len(old[place]):
            continue
        parts += [_move(at, place, width_of(row[:same])), _styled(row[same:])]
        if width_of(row) < width_of(old[place]):
            parts.append(_ERASE_RIGHT)
        at = place
    last = len(new) - 1
    if len(new) < len(old):
        parts += [_move(at, last + 1, 0), _ERASE_BELOW]
        at = last + 1
    if at != last:
        parts.append(_move(at, last, width_of(new[last])))
    return "".join(parts)


def _move(from_row: int, to_row: int, column: int) -> str:
    right = f"\x1b[{column}C" if column else ""
    return _up(from_row - to_row) + _down(to_row - from_row) + "\r" + right


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows > 0 else ""


def _down(rows: int) -> str:
    return f"\x1b[{rows}B" if rows > 0 else ""


def _styled(row: Sequence[Cell]) -> str:
    parts: list[str] = []
    dim = False
    for cell in row:
        if cell.dim != dim and cell.text != " ":
            dim = cell.dim
            parts.append(_DIM if dim else _PLAIN)
        parts.append(cell.text)
    return "".join(parts) + (_PLAIN if dim else "")

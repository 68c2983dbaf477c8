"""Text as a terminal shows it: cells of one or two columns, broken into rows between words."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len


class Cell(NamedTuple):
    """What stands in one place: a character with the combining ones behind it.

    Attributes:
        text: the characters.
        width: columns that they take, 1 or 2.
        dim: whether it may still change.
    """

    text: str
    width: int
    dim: bool = False


Row = tuple[Cell, ...]


class Slice(NamedTuple):
    """Cells of a text that make a row: from `start` up to, not including, `end`."""

    start: int
    end: int


def cells(text: str, *, dim_from: int | None = None) -> list[Cell]:
    """Cut a text into cells.

    Args:
        text: without control characters.
        dim_from: characters from here on are dim; None for none.
    """
    found: list[Cell] = []
    for place, character in enumerate(text):
        width = cell_len(character)
        dim = dim_from is not None and place >= dim_from and character != " "
        if width:
            found.append(Cell(character, width, dim))
        elif found:
            last = found[-1]
            found[-1] = last._replace(text=last.text + character)
    return found


def width_of(row: Sequence[Cell]) -> int:
    """Return how many columns cells take."""
    return sum(cell.width for cell in row)


def wrap(text: Sequence[Cell], columns: int) -> list[Slice]:
    """Break a text into rows: at blanks, beside wide characters, else where the row is full.

    A row does not depend on what follows the first word of the next one. Blanks at a break are
    left out.
    """
    rows: list[Slice] = []
    start = _after_blanks(text, 0)
    while start < len(text):
        end, following = _row_end(text, start, columns)
        rows.append(Slice(start, end))
        start = following
    return rows


def common_length(a: Sequence[Cell], b: Sequence[Cell]) -> int:
    """Return how many cells two rows share at their beginning."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def physical_rows(row: Sequence[Cell], columns: int) -> int:
    """Return how many rows a terminal makes of one that has become too long for it."""
    rows, used = 1, 0
    for cell in row:
        if used + cell.width > columns:
            rows, used = rows + 1, 0
        used += cell.width
    return rows


def _row_end(text: Sequence[Cell], start: int, columns: int) -> tuple[int, int]:
    """Return where the row that begins at `start` ends, and where the next one begins."""
    used, chance = 0, 0
    for place in range(start, len(text)):
        cell = text[place]
        if cell.text == " ":
            chance = place
        elif used + cell.width > columns and place > start:
            end = chance or place
            if place > start and _may_break_before(text, place):
                end = place
            return _before_blanks(text, start, end), _after_blanks(text, end)
        elif place > start and _may_break_before(text, place):
            chance = place
        used += cell.width
    return _before_blanks(text, start, len(text)), len(text)


def _may_break_before(text: Sequence[Cell], place: int) -> bool:
    before, here = text[place - 1], text[place]
    return before.text == " " or here.width == 2 or before.width == 2


def _before_blanks(text: Sequence[Cell], start: int, end: int) -> int:
    while end > start and text[end - 1].text == " ":
        end -= 1
    return end


def _after_blanks(text: Sequence[Cell], place: int) -> int:
    while place < len(text) and text[place].text == " ":
        place += 1
    return place

"""A text to read with what mark-up put into it: pauses, given phonemes, ways to say things."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from echoic.tts.text.pieces import Pause, Word
from echoic.tts.text.spans import Span, Traced

INSERT = "\ufffc"  # Unicode's object replacement character stands for one insert


class SayAs(NamedTuple):
    """Text to be read as one kind of thing.

    Attributes:
        kind: one of `KINDS`.
        text: what to read.
        span: its place in the source.
        format: of a date: the order of "d", "m" and "y".
    """

    kind: str
    text: str
    span: Span
    format: str = ""


KINDS = (
    *("characters", "spell-out", "digits", "cardinal", "number", "ordinal", "fraction"),
    *("date", "time", "telephone", "currency"),
)
Insert = Pause | Word | SayAs


class TextError(ValueError):
    """Mark-up that cannot be read; the message is one line and says where and what to write."""


@dataclass(frozen=True, slots=True)
class Script:
    """Text with inserts.

    Attributes:
        text: what to read; its k-th `INSERT` stands for the k-th insert.
        inserts: pauses, words with phonemes and `SayAs`.
    """

    text: Traced
    inserts: tuple[Insert, ...] = ()

    def __post_init__(self) -> None:
        holes = self.text.text.count(INSERT)
        if holes != len(self.inserts):
            raise ValueError(f"text has {holes} places for {len(self.inserts)} inserts")

    @classmethod
    def plain(cls, text: str, start: int = 0) -> "Script":
        """Return text as it stands in the source from character `start` on, with no mark-up."""
        return cls(typed(text, start))

    def cut(self, lengths: Iterable[int]) -> Iterator["Script"]:
        """Yield parts of so many characters, one after the other."""
        begin = used = 0
        for length in lengths:
            text = self.text.part(begin, begin + length)
            holes = text.text.count(INSERT)
            yield Script(text, self.inserts[used : used + holes])
            begin, used = begin + length, used + holes


def typed(text: str, start: int = 0) -> Traced:
    """Return text of the source, in which a typed `INSERT` becomes a blank."""
    return Traced.typed(text.replace(INSERT, " "), start)


def seconds(text: str) -> float | None:
    """Read "300ms" or "1.5 s"; None if it is neither or not within 0 to 60 seconds.

    >>> seconds("300ms"), seconds("1.5 s"), seconds("soon")
    (0.3, 1.5, None)
    """
    number, unit = text.strip().lower(), 1.0
    if number.endswith("ms"):
        number, unit = number[:-2], 1000.0
    elif number.endswith("s"):
        number = number[:-1]
    else:
        return None
    number = number.rstrip()
    if not number.replace(".", "", 1).isdecimal() or not number.isascii() or len(number) > 12:
        return None
    value = float(number) / unit
    return value if value <= 60 else None

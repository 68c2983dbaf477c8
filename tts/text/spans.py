"""Text that knows where it came from: every character carries a range of the source."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A range of characters of the source, the end exclusive."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """Return the range from the start of this one to the end of another."""
        return Span(self.start, max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Traced:
    """Text whose every character knows the range of the source it stands for.

    Attributes:
        text: N characters.
        spans: N ranges; neither their starts nor their ends ever decrease.

    >>> text = Traced.typed("I, ") + Traced.instead("World Health", Span(3, 6))
    >>> text.text, text.span(3, 8)
    ('I, World Health', Span(start=3, end=6))
    """

    text: str
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        if len(self.text) != len(self.spans):
            raise ValueError(f"{len(self.text)} characters have {len(self.spans)} spans")

    @classmethod
    def typed(cls, text: str, start: int = 0) -> "Traced":
        """Return text as it stands in the source from character `start` on."""
        return cls(text, tuple(Span(i, i + 1) for i in range(start, start + len(text))))

    @classmethod
    def instead(cls, text: str, span: Span) -> "Traced":
        """Return text of which every character stands for the same range of the source."""
        return cls(text, (span,) * len(text))

    @classmethod
    def joined(cls, parts: Iterable["Traced"]) -> "Traced":
        """Return the parts one after the other."""
        kept = list(parts)
        return cls("".join(p.text for p in kept), tuple(s for p in kept for s in p.spans))

    def __len__(self) -> int:
        return len(self.text)

    def __add__(self, other: "Traced") -> "Traced":
        return Traced(self.text + other.text, self.spans + other.spans)

    def part(self, start: int, end: int) -> "Traced":
        """Return the characters from `start` to before `end`."""
        return Traced(self.text[start:end], self.spans[start:end])

    def span(self, start: int, end: int) -> Span:
        """Return the range of the source that the characters [start, end) stand for.

        Raises:
            ValueError: the range holds no character.
        """
        if not 0 <= start < end <= len(self.spans):
            raise ValueError(f"[{start}, {end}) is no part of {len(self.spans)} characters")
        return self.spans[start].to(self.spans[end - 1])

"""What a rule of the normaliser is, and the shapes of numbers that rules share."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from echoic.tts.text.english.numbers import cardinal, fraction, number
from echoic.tts.text.english.tables import MONTHS, STARTERS, WEEKDAYS

# A whole number, with commas between thousands or as in India, then perhaps a decimal part.
INTEGER = r"(?:\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:,\d{3})+|\d+)(?!\d)"
DECIMAL = rf"(?:{INTEGER}(?:\.\d+)?|\.\d+)"
AMOUNT = rf"(?:(?:\d{{1,4}}\s)?\d{{1,4}}/\d{{1,4}}(?![\d/])|{DECIMAL})"
TO = r"\s?[-–]\s?"
END = r"(?![A-Za-z0-9])"

Say = Callable[[re.Match[str]], str | None]


class Rule(NamedTuple):
    """One way to read something.

    Attributes:
        pattern: what it reads; tried where a word, a number or a symbol may begin.
        say: gives the words, parted by blanks, marks among them as words of their own; or None
            to leave the text to the rules that follow.
    """

    pattern: re.Pattern[str]
    say: Say


def rule(pattern: str, say: Say | str, flags: int = 0) -> Rule:
    """Return a rule; a string is what it says whatever was matched."""
    if isinstance(say, str):
        words = say
        return Rule(re.compile(pattern, flags), lambda _: words)
    return Rule(re.compile(pattern, flags), say)


def any_of(words: Iterable[str]) -> str:
    """Return a pattern of these very words, the longest first."""
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


def before(match: re.Match[str], count: int = 40) -> str:
    """Return the text just before a match."""
    return match.string[max(0, match.start() - count) : match.start()]


def after(match: re.Match[str], count: int = 40) -> str:
    """Return the text just after a match."""
    return match.string[match.end() : match.end() + count]


def amount(text: str) -> str:
    """Read what `AMOUNT` matches.

    >>> amount("1 1/2"), amount("2,000.5")
    ('one and a half', 'two thousand point five')
    """
    if "/" not in text:
        return number(text)
    whole, _, part = text.rpartition(" ") if " " in text else ("", "", text)
    words = fraction(*part.split("/"))
    if not whole:
        return words
    return f"{cardinal(whole)} and {'a half' if words == 'one half' else words}"


_TEXT_ENDS = re.compile(r"[\"')\]]*\s*$")
_SENTENCE_BEGINS = re.compile(rf"[\"')\]]*\s+[\"'(]?(?:{any_of(STARTERS)})\b")
_CAPITAL = re.compile(rf"[\"')\]]*\s+[\"'(]?(?!{any_of([*WEEKDAYS, *MONTHS])})[A-Z]")


def full_stop(match: re.Match[str], *, likely: bool = False) -> str:
    """Return the mark that the full stop of an abbreviation is besides, if it ends a sentence.

    Args:
        match: of an abbreviation with its full stop.
        likely: whether any capital letter after it begins a sentence, or only known words.
    """
    rest = after(match)
    begins = _SENTENCE_BEGINS.match(rest) or (likely and _CAPITAL.match(rest))
    return " ." if match[0].endswith(".") and (begins or _TEXT_ENDS.match(rest)) else ""

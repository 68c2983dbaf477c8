"""Rules for symbols, signs of arithmetic and letters that stand for themselves."""

import re
import unicodedata

from echoic.tts.text.english.rule import Say, after, any_of, before, rule
from echoic.tts.text.english.tables import SYMBOLS

_COMPARISONS = {"<": "less than", ">": "greater than", "<=": "at most", ">=": "at least"}
_NUMBER_FOLLOWS = r"(?=\s?[-(]?[\d.$£€¥₹])"


def _minus(match: re.Match[str]) -> str | None:
    """Read a hyphen before a number: a sign, a range, or arithmetic."""
    left = before(match)
    blank = match[0].endswith(" ") or left.endswith(" ")
    if re.search(r"(?:\d|[ap]\.?m\.?)\s?$", left, re.IGNORECASE):
        return "minus" if blank and re.match(r"[\d\s.+*/-]+=", after(match)) else "to"
    return None if blank and left.strip() and match[0].endswith(" ") else _sign(left)


def _sign(left: str) -> str | None:
    return None if re.search(r"[\w)\]]$", left) else "minus"


def _between_numbers(words: str) -> Say:
    def say(match: re.Match[str]) -> str | None:
        return words if re.search(r"[\d)]\s?$", before(match)) else None

    return say


def _slash(match: re.Match[str]) -> str | None:
    left, right = before(match)[-1:], after(match)[:1]
    if before(match)[-3:].lower() == "and" and right.lower() == "o":
        return None  # "and/or"
    return "slash" if left.isalnum() and right.isalnum() else None


def _greek(match: re.Match[str]) -> str:
    return unicodedata.name(match[0]).split()[3].lower()


def _compared(match: re.Match[str]) -> str:
    return _COMPARISONS[match[0]]


SYMBOL_RULES = (
    rule(r"-\s?(?=\.?\d|[$£€¥₹]\s?\d)", _minus),
    rule(r"–\s?(?=\d)", lambda m: "to" if re.search(r"\w$|[\dm.]\s$", before(m)) else None),
    rule(rf"([<>]=?){_NUMBER_FOLLOWS}", _compared),
    rule(r"([<>]=)|(?<=\w\s)([<>])(?=\s\w)", _compared),
    rule(rf"~{_NUMBER_FOLLOWS}", "about"),
    rule(rf"[*]{_NUMBER_FOLLOWS}", _between_numbers("times")),
    rule(r"/(?=\s\d)", _between_numbers("divided by")),
    rule(r"(?:!=|=/=)", "is not equal to"),
    rule(r"={2,}(?=\s?\w)", "equals"),
    rule(r"/", _slash),
    rule(
        r"\.(?=[A-Za-z]{2,}\d?\b)", lambda m: "dot" if re.search(r"(?:^|\s)$", before(m)) else None
    ),
    rule(r"#(?=\w)", "hash"),
    rule(any_of(SYMBOLS), lambda m: SYMBOLS[m[0]]),
    rule(r"(?<![^\W\d_])[α-ωΑ-Ω](?![^\W\d_])", _greek),
)

"""SSML's say-as in English."""

import re
from collections.abc import Callable

from echoic.tts.text.english.codes import telephone
from echoic.tts.text.english.dates import any_year, clock, day_and_month
from echoic.tts.text.english.fold import fold
from echoic.tts.text.english.numbers import cardinal, digits, number, ordinal, roman
from echoic.tts.text.english.quantities import money
from echoic.tts.text.english.rule import AMOUNT, DECIMAL, amount, any_of
from echoic.tts.text.english.tables import CURRENCY_CODES, CURRENCY_SIGNS, MONTHS, SYMBOLS
from echoic.tts.text.script import SayAs
from echoic.tts.text.spans import Traced

_NAMES = SYMBOLS | {
    **{".": "dot", ",": "comma", "-": "dash", "_": "underscore", "/": "slash", ":": "colon"},
    **{";": "semicolon", "!": "exclamation mark", "?": "question mark", "#": "hash", "*": "star"},
    **{"'": "apostrophe", '"': "quote", "(": "open bracket", ")": "close bracket", "~": "tilde"},
}


def say_as(insert: SayAs) -> str | None:
    """Read text as the kind of thing it is said to be.

    Returns:
        Words and marks, parted by blanks; None if the text is no such thing, and then it is to be
        read like any other.
    """
    text = fold(Traced.typed(insert.text)).text.strip()
    if insert.kind == "date":
        return _date(text, insert.format)
    return _WAYS[insert.kind](text)


def _characters(text: str) -> str:
    said = (digits(c) if c.isdecimal() else _NAMES.get(c, c) for c in text)
    return " ".join(s.upper() if len(s) == 1 else s for s in said if s.strip())


def _digits(text: str) -> str | None:
    return digits(text) or None


def _cardinal(text: str) -> str | None:
    value = roman(text)
    if value is not None:
        return cardinal(str(value))
    match = re.fullmatch(rf"([-+])?\s?({DECIMAL})", text)
    return match and " ".join(filter(None, (_sign(match[1]), number(match[2]))))


def _sign(text: str | None) -> str:
    return {"-": "minus", "+": "plus"}.get(text or "", "")


def _ordinal(text: str) -> str | None:
    value = roman(text)
    if value is not None:
        return ordinal(str(value))
    match = re.fullmatch(r"([\d,]*\d)(?:st|nd|rd|th)?", text)
    return match and ordinal(match[1].replace(",", ""))


def _fraction(text: str) -> str | None:
    return amount(text) if re.fullmatch(AMOUNT, text) else None


def _time(text: str) -> str | None:
    pattern = r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s?([ap])?(?:\.?m\.?)?"
    match = re.fullmatch(pattern, text, re.IGNORECASE)
    return match and clock(match[1], match[2] or "0", match[3] or "", match[4] or "")


def _telephone(text: str) -> str | None:
    return telephone(text) if digits(text) else None


def _currency(text: str) -> str | None:
    sign = any_of({*CURRENCY_SIGNS, *CURRENCY_CODES})
    match = re.fullmatch(rf"({sign})?\s?({DECIMAL})\s?({sign})?", text)
    if match is None or not (match[1] or match[3]):
        return None
    return money((CURRENCY_SIGNS | CURRENCY_CODES)[match[1] or match[3]], match[2])


def _date(text: str, order: str) -> str | None:
    parts = re.findall(r"\d{1,4}", text)
    if not order:
        order = "ymd" if parts and len(parts[0]) == 4 else "mdy"
    if not re.fullmatch(r"[\d\s./-]+", text) or len(parts) != len(order):
        return None
    found = dict(zip(order, parts, strict=True))
    month = int(found.get("m", "1"))
    if not 1 <= month <= 12 or len(found.get("d", "1")) > 2:
        return None
    year = any_year(found["y"]) if "y" in found else ""
    if "d" in found and "m" in found:
        return day_and_month(found["d"], month, f" , {year}" if year else "")
    if "d" in found:
        return ordinal(found["d"])
    return " ".join(filter(None, (MONTHS[month - 1] if "m" in found else "", year)))


_WAYS: dict[str, Callable[[str], str | None]] = {
    "characters": _characters,
    "spell-out": _characters,
    "digits": _digits,
    "cardinal": _cardinal,
    "number": _cardinal,
    "ordinal": _ordinal,
    "fraction": _fraction,
    "time": _time,
    "telephone": _telephone,
    "currency": _currency,
}

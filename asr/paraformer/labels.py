"""From the text of a transcript to the text that a model learns to write."""

import re
import unicodedata
from typing import Literal, get_args

Style = Literal["as_is", "words", "english"]

_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")
_NO_WORD = re.compile(r"[^\w' ]|_")
_EDGE = re.compile(r"(?<!\w)'+|'+(?!\w)")
_NUMBER = re.compile(r"(?<![\w.,:])\d{1,2}(?![\w:]|[.,]\d)")
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def label_text(text: str, style: Style) -> str | None:
    """Return what a model is to write for a text.

    Args:
        text: of a manifest.
        style: "as_is" keeps everything but the width of spaces; "words" writes lower case without
            marks, apostrophes inside of words excepted; "english" does the same and spells the
            whole numbers from 0 to 99.

    Returns:
        The text, with single spaces; "" where nothing is left; None where an English text has other
        digits, of which nobody knows how they were read.

    Raises:
        ValueError: no such style.
    """
    if style not in get_args(Style):
        raise ValueError(f"labels are {style!r}, expected one of {', '.join(get_args(Style))}")
    text = unicodedata.normalize("NFKC", text)
    if style != "as_is":
        text = _APOSTROPHES.sub("'", text).lower()
        if style == "english":
            text = _NUMBER.sub(lambda found: f" {_spelled(int(found[0]))} ", text)
            if re.search(r"\d", text):
                return None
        text = _EDGE.sub(" ", _NO_WORD.sub(_sign_or_space, text))
    return " ".join(text.split())


def _sign_or_space(found: re.Match[str]) -> str:
    """Keep what is written above, below or around a letter, as vowels are in many scripts."""
    base = found.start()
    while base >= 0 and _is_sign(found.string[base]):
        base -= 1
    return found[0] if 0 <= base < found.start() and found.string[base].isalpha() else " "


def _is_sign(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc")


def _spelled(number: int) -> str:
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens - 2]} {_ONES[ones]}" if ones else _TENS[tens - 2]

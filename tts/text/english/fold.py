"""Folding of Unicode: one spelling for what is written in many, spans kept.

Compatibility characters become plain ones, digits of every script ASCII ones, quotes and dashes
the few that rules know. Emoji, other pictures, control characters and the signs of trade marks are
dropped: they have no sound.
"""

import re
import unicodedata
from fractions import Fraction

from echoic.tts.text.script import INSERT
from echoic.tts.text.spans import Span, Traced

_TABLE = {
    **dict.fromkeys("’‘‛ʼʹ′＇", "'"),
    **dict.fromkeys("“”„‟«»″＂", '"'),
    **dict.fromkeys("‐‑−﹣－", "-"),
    **dict.fromkeys("‒–", "–"),
    **dict.fromkeys("―⸺⸻", "—"),
    **dict.fromkeys("。．।", "."),
    **dict.fromkeys("、،", ","),
    **dict.fromkeys("؟⸮", "?"),
    **dict.fromkeys("¿¡™®℠", ""),
    **dict.fromkeys("•‣◦▪●■○□", " "),
    **dict.fromkeys("→⇒➔⟶", ", "),
    **{"…": "…", "؛": ";", "№": "No. ", "©": "©", "°": "°", "⁄": "/", "∕": "/"},
    **{"‼": "!", "⁉": "?", "⁈": "?", "⁇": "?", "Ω": "Ω"},
}
_PICTURES = f"°©{INSERT}"  # those that are read, or stand for what is
_PLAIN_SPACES = "\n\r\t\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029"


def fold(text: Traced) -> Traced:
    """Return the text with one spelling for each thing that is said in one way."""
    if text.text.isascii() and text.text.isprintable():
        return text
    parts: list[str] = []
    spans: list[Span] = []
    raised = False
    for begin, end in _clusters(text.text):
        cluster = text.text[begin:end]
        folded = _cluster(cluster, raised)
        raised = _is_raised(cluster[0])
        parts.append(folded)
        spans += [text.span(begin, end)] * len(folded)
    return Traced("".join(parts), tuple(spans))


def is_letter(character: str) -> bool:
    """Tell whether a character is a letter or a numeral that is written as one (Ⅳ, 〇)."""
    return character.isalpha() or unicodedata.category(character) == "Nl"


def is_combining(character: str) -> bool:
    """Tell whether a character is part of the letter before it."""
    return not character.isascii() and unicodedata.category(character)[0] == "M"


def _clusters(text: str) -> list[tuple[int, int]]:
    """Return the ranges of characters with the combining ones that follow each."""
    starts = [i for i, c in enumerate(text) if i == 0 or not is_combining(c)]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _cluster(cluster: str, raised: bool) -> str:
    base = cluster[0]
    if base in _TABLE:
        return _TABLE[base]
    if base in "⁺⁻":
        return ("" if raised else "^") + ("-" if base == "⁻" else "")
    if base.isascii() and len(cluster) == 1:
        return base if base.isprintable() else " " if base in _PLAIN_SPACES else ""
    if unicodedata.category(base) in ("Nd", "No"):
        return _digits(base, raised)
    plain = unicodedata.normalize("NFKC", cluster)
    return "".join(_kept(c, plain[i - 1] if i else "") for i, c in enumerate(plain))


def _kept(character: str, before: str) -> str:
    """Return a character of a folded cluster as far as it has a sound."""
    category = unicodedata.category(character)
    if character in _TABLE and character not in _TABLE.values():
        return _TABLE[character]
    if category in ("Nd", "No"):
        return _digits(character, raised=False)
    if category[0] == "M":  # variation selectors and key caps are on symbols, not on letters
        return character if before and (is_letter(before) or is_combining(before)) else ""
    if character.isspace() or category == "So":
        return character if character in _PICTURES else " "
    return "" if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Sk") else character


def _digits(character: str, raised: bool) -> str:
    kind = unicodedata.decomposition(character).partition(">")[0]
    value = unicodedata.digit(character, None)
    if value is None:
        return f" {Fraction(unicodedata.numeric(character)).limit_denominator(1000)} "
    if kind == "<super":
        return f"{value}" if raised else f"^{value}"
    return f" {value} " if kind == "<circle" else str(value)


def _is_raised(character: str) -> bool:
    return bool(re.match("<super>", unicodedata.decomposition(character)))

"""Rules for what is spelled out: addresses of the net, telephone numbers, versions, labels."""

import re

from echoic.tts.text.english.names import acronym
from echoic.tts.text.english.numbers import cardinal, digits, number, plural, short_year
from echoic.tts.text.english.rule import END, rule

_TLD = "com|org|net|edu|gov|mil|int|io|ai|app|dev|info|biz|co|me|tv|uk|de|fr|eu|ca|us|jp|cn|ch"
_HOST = rf"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+(?:{_TLD})"
_PATH = r"(?::\d+)?(?:/[^\s<>\"'()\[\],]*)?"
_SPOKEN = {
    **{".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon"},
    **{"?": "question mark", "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus"},
    **{"~": "tilde", "*": "star", "!": "exclamation mark", "$": "dollar", "\\": "backslash"},
}
_PIECE = re.compile(r"[^\W\d_]+|\d+|.")
_CAMEL = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]|\d+")


def spell_address(text: str) -> str:
    """Read an address of the net, mark by mark.

    >>> spell_address("a_b@example.com/x1")
    'a underscore b at example dot com slash x one'
    """
    words = []
    for piece in _PIECE.findall(text):
        if piece.isdecimal():
            words.append(_label_digits(piece))
        elif piece.isalpha():
            words.append(" ".join(piece) if piece.lower() == "www" else acronym(piece))
        else:
            words.append(_SPOKEN.get(piece, ""))
    return " ".join(filter(None, words))


def spell_label(text: str) -> str:
    """Read letters and digits that stand together.

    >>> spell_label("MP3s"), spell_label("B52"), spell_label("x2024y")
    ('M P threes', 'B fifty-two', 'x twenty twenty-four y')
    """
    pieces = re.findall(r"[A-Za-z]+|\d+", text)
    words = [_label_digits(p) if p.isdecimal() else acronym(p) for p in pieces]
    if len(pieces) > 1 and pieces[-1] == "s" and pieces[-2].isdecimal():
        words[-2:] = [plural(words[-2])]
    return " ".join(words)


def _label_digits(text: str) -> str:
    if len(text) > 4 or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    if len(text) < 4:
        return cardinal(text)
    first, last = text[:2], text[2:]
    if last == "00":
        return cardinal(text)
    return cardinal(text) if first[1] == last[0] == "0" else f"{cardinal(first)} {_last(last)}"


def _last(text: str) -> str:
    return short_year(int(text))


def _address(match: re.Match[str]) -> str:
    text = re.sub(r"^[a-z]+://", "", match[0], flags=re.IGNORECASE)
    return spell_address(text)


def _file(match: re.Match[str]) -> str:
    return f"{spell_address(match[1])} dot {spell_address(match[2])}"


def _hashtag(match: re.Match[str]) -> str:
    return f"hashtag {_camel(match[1])}"


def _handle(match: re.Match[str]) -> str:
    return f"at {_camel(match[1])}"


def _camel(text: str) -> str:
    pieces = _CAMEL.findall(text)
    return " ".join(_label_digits(p) if p.isdecimal() else acronym(p) for p in pieces)


def telephone(text: str) -> str:
    """Read a telephone number: digits, with commas where it has gaps.

    >>> telephone("+1 (555) 123-4567")
    'plus one , five five five , one two three , four five six seven'
    """
    groups = " , ".join(digits(g) for g in re.findall(r"\d+", text))
    return f"plus {groups}" if text.lstrip().startswith("+") else groups


def _telephone(match: re.Match[str]) -> str | None:
    return telephone(match[0]) if sum(c.isdecimal() for c in match[0]) < 20 else None


def _version(match: re.Match[str]) -> str:
    numbers = " point ".join(cardinal(n) if n[0] != "0" else digits(n) for n in match[2].split("."))
    return f"version {numbers}" if match[1] else numbers


def _host_number(match: re.Match[str]) -> str:
    return " dot ".join(cardinal(n) for n in match[0].split("."))


def _groups(match: re.Match[str]) -> str:
    return " , ".join(digits(g) for g in match[0].split("-"))


def _numbered(match: re.Match[str]) -> str:
    return f"number {number(match[1])}"


CODE_RULES = (
    rule(r"[\w.+-]*[A-Za-z0-9]@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}", _address),
    rule(r"(?:https?|ftp)://[^\s<>\"()\[\]]*[\w/]", _address, re.IGNORECASE),
    rule(r"www\.[^\s<>\"()\[\],]*[\w/]", _address, re.IGNORECASE),
    rule(rf"{_HOST}(?![A-Za-z0-9@])(?:{_PATH}[\w/])?", _address),
    rule(r"#([A-Za-z][A-Za-z0-9_]*)", _hashtag),
    rule(r"#\s?(\d+)", _numbered),
    rule(r"@([A-Za-z_][A-Za-z0-9_]*)", _handle),
    rule(r"\+\d{1,3}(?:[\s.-]?\(?\d{1,4}\)?){2,5}(?![\d-])", _telephone),
    rule(r"(?:1[\s.-])?\(\d{3}\)\s?\d{3}[\s.-]\d{4}(?![\d-])", _telephone),
    rule(r"(?:1[\s.-])?\d{3}[.-]\d{3}[.-]\d{4}(?![\d-])", _telephone),
    rule(r"\d{3}-\d{4}(?![\d-])", _telephone),
    rule(r"\d{4}(?:[ -]\d{4}){3}(?![\d-])", _telephone),
)
# After dates and measures: "2024-03-05" and "5km" are some, "978-3-16" and "5x2" are not.
LABEL_RULES = (
    rule(r"\d{1,3}(?:\.\d{1,3}){3}(?![\d.]\d)", _host_number),
    rule(rf"([vV])?(\d+(?:\.\d+){{2,}}){END}", _version),
    rule(rf"([vV])\.?(\d+(?:\.\d+)*){END}", _version),
    rule(r"\d+(?:-\d+){2,}", _groups),
    rule(rf"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]+{END}", lambda m: spell_label(m[0])),
    rule(r"([a-z0-9][\w-]*)\.([a-z][a-z0-9]{0,7})(?![\w.])", _file),
)

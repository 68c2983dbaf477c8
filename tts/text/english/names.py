"""Rules for abbreviations, titles, Roman numerals and words in capitals."""

import re

from echoic.tts.text.english.numbers import cardinal, ordinal, roman
from echoic.tts.text.english.rule import END, Rule, after, any_of, before, full_stop, rule
from echoic.tts.text.english.tables import (
    ABBREVIATIONS,
    APOSTROPHE_WORDS,
    BARE,
    BARE_TITLES,
    COUNTED,
    ENDINGS,
    READ,
    ROMAN_COUNTS,
    ROMAN_RANKS,
    SHORT_WORDS,
    SPELLED,
    STREETS,
    TITLES,
)
from echoic.tts.text.script import INSERT

_NAME = rf"(?:[A-Z{INSERT}]|[^\W\d_a-z])"  # how a name begins
_CAPITALS = re.compile(r"[A-Z]{2,}")
_VOWEL = re.compile(r"[AEIOUY]")


def spelled(letters: str) -> str:
    """Return the letters as words of their own."""
    return " ".join(c for c in letters if c.isalpha())


def _title(match: re.Match[str]) -> str | None:
    short = match[1]
    if match[2] == "" and short not in BARE_TITLES:
        return None
    if short in STREETS and re.search(r"\b[A-Z][a-z'-]+\s$", before(match)):
        return None  # "Main St. Bridge" is no saint, "Elm Dr. Smith" no doctor
    return TITLES[short]


def _street(match: re.Match[str]) -> str | None:
    place = re.search(r"(?:\b[A-Z][a-z'-]+|\b\d+(?:st|nd|rd|th))\s$", before(match))
    return STREETS[match[1]] + full_stop(match) if place else None


def _counted(match: re.Match[str]) -> str:
    short = match[1]
    words = COUNTED[short.lower()]
    return words.capitalize() if short[0].isupper() else words


def _abbreviation(match: re.Match[str]) -> str:
    short = match[0].lower()
    words = ABBREVIATIONS.get(short) or ENDINGS[short]
    if match[0][0].isupper() and words[0].islower():
        words = words[0].upper() + words[1:]
    return words + full_stop(match, likely=short in ("etc.", "a.m.", "p.m."))


def _dotted(match: re.Match[str]) -> str:
    return spelled(match[1]).upper() + ("'s" if match[2] else "") + full_stop(match)


def _initial(match: re.Match[str]) -> str | None:
    """Read the initial of a name; a full stop after other single letters ends a sentence."""
    if match[1] == "I" or not re.search(r"(?:^|[.!?]\s|\b[A-Z][a-z]+\s)$", before(match)):
        return None
    return match[1]


def _roman(match: re.Match[str]) -> str | None:
    value = roman(match[1])
    if value is None:
        return None
    previous = re.search(r"([A-Za-z]+)\.?\s$", before(match))
    if previous is None:
        return None
    word = previous[1]
    if word.capitalize() in ROMAN_COUNTS and (word[0].isupper() or len(match[1]) > 1):
        if len(match[1]) == 1 and match[1] not in "IVX":
            return None
        return cardinal(str(value))
    if len(match[1]) == 1 or not re.fullmatch(r"[A-Z][a-z]+", word):
        return None
    if word in ROMAN_RANKS:
        return f"the {ordinal(str(value))}" + ("'s" if match[2] else "")
    # Elsewhere only what is no other abbreviation: "Apollo XI", "Rocky II", but no "MD" or "CD".
    return cardinal(str(value)) if set(match[1]) <= set("IVX") else None


def _capitals(match: re.Match[str]) -> str:
    word, ending = match[1], match[2] or ""
    if word in READ:
        return word + ending
    if word not in SPELLED and _shouts(word, match):
        return word.lower() + ending
    spell = word in SPELLED or len(word) < 4 or not _VOWEL.search(word)
    if not spell:
        return word.lower() + ending
    return spelled(word) + ("'s" if ending else "")


def _shouts(word: str, match: re.Match[str]) -> bool:
    """Tell whether a word is in capitals for its loudness: its neighbours are as well."""
    if word in SHORT_WORDS:
        return True
    left = re.search(r"([A-Z][A-Z']+)[\s,;:!?.'\"-]+$", before(match))
    right = re.match(r"[\s,;:!?.'\"-]+([A-Z][A-Z']+)(?![a-z])", after(match))
    near = [found[1] for found in (left, right) if found]
    words = [w for w in near if w not in READ and (w in SHORT_WORDS or w not in SPELLED)]
    return bool(_VOWEL.search(word)) and any(
        _VOWEL.search(w) and (w in SHORT_WORDS or len(w) > 3) for w in words
    )


def _joined(match: re.Match[str]) -> str:
    return " and ".join(map(spelled, match[0].split("&")))


def acronym(word: str) -> str:
    """Read letters that stand together with digits: "MP" of "MP3", "iPhone" of "iPhone15"."""
    if len(word) == 1 or (_CAPITALS.fullmatch(word) and word not in READ):
        return spelled(word)
    return word


_SHORTS = any_of({*ABBREVIATIONS, *ENDINGS})
NAME_RULES: tuple[Rule, ...] = (
    rule(rf"({any_of(COUNTED)})\.\s*(?=\d)", _counted, re.IGNORECASE),
    rule(rf"({any_of(STREETS)})\b(?![A-Za-z'])\.?", _street),
    rule(rf"({any_of(TITLES)})(\.?)(?![A-Za-z0-9'.])(?=\s+(?:{_NAME}|and\s|&\s))", _title),
    rule(rf"(?:{_SHORTS})(?![A-Za-z0-9])", _abbreviation, re.IGNORECASE),
    rule(rf"({any_of(BARE)}){END}(?!')", lambda m: BARE[m[1]]),
    rule(r"((?:[A-Za-z]\.){2,}|(?:[A-Za-z]\.)+[A-Za-z]\b(?!'))('s)?(?![A-Za-z0-9])", _dotted),
    rule(rf"([A-Z])\.(?=\s+{_NAME})", _initial),
    rule(r"([IVXLCDM]+)('s)?(?![A-Za-z0-9'-])(?!\.?\s[A-Z]\b)", _roman),
    rule(rf"'({any_of(APOSTROPHE_WORDS)})\b'?(?![A-Za-z0-9])", lambda m: f"'{m[1]}", re.IGNORECASE),
    rule(r"[A-Z]{1,3}(?:&[A-Z]{1,3})+(?![A-Za-z0-9&])", _joined),
    rule(r"([A-Z]{2,})('?s)?(?![A-Za-z0-9])(?!'[A-Za-z])", _capitals),
    rule(r"I'(M|LL|VE|D)(?![A-Za-z0-9])", lambda m: f"I'{m[1].lower()}"),
    rule(r"([A-Z]{2,})('(?:[A-Z]+|[a-z]+))(?![A-Za-z0-9])", lambda m: (m[1] + m[2]).lower()),
)

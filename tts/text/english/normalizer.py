"""English text to words, marks and pauses: one pass, the first rule that fits a place wins.

What rules say is never read again, so no rule can spoil what another has said. Everything else is
a word, a mark, or has no sound: quotes, brackets (they become commas), asterisks, underscores,
pictures. Any string can be read, and what comes out of common text reads as itself.
"""

import re
from collections.abc import Iterator

from echoic.tts.text.english.codes import CODE_RULES, LABEL_RULES
from echoic.tts.text.english.dates import DATE_RULES, YEAR_RULES
from echoic.tts.text.english.fold import fold, is_combining, is_letter
from echoic.tts.text.english.names import NAME_RULES
from echoic.tts.text.english.quantities import NUMBER_RULES, QUANTITY_RULES
from echoic.tts.text.english.rule import Rule
from echoic.tts.text.english.say_as import say_as
from echoic.tts.text.english.symbols import SYMBOL_RULES
from echoic.tts.text.english.tables import (
    ABBREVIATIONS,
    BARE,
    BARE_TITLES,
    COUNTED,
    ENDINGS,
    MONTH_SHORTS,
    MONTHS,
    STREETS,
    TITLES,
)
from echoic.tts.text.pieces import MARKS, Mark, Piece, Word
from echoic.tts.text.script import INSERT, SayAs, Script
from echoic.tts.text.spans import Span, Traced
from echoic.tts.text.splitter import SplitRules

_RULES: tuple[Rule, ...] = (
    *CODE_RULES,
    *DATE_RULES,
    *QUANTITY_RULES,
    *LABEL_RULES,
    *YEAR_RULES,
    *NUMBER_RULES,
    *NAME_RULES,
    *SYMBOL_RULES,
)
# Small letters before a blank or a mark are a word whatever the rules say; this saves trying them.
_PLAIN_WORD = re.compile(r"[A-Za-z]?[a-z]+(?:'[a-z]+)?(?=[\s,;!?]|$)")
_KNOWN = frozenset({*BARE, *BARE_TITLES, *STREETS, *MONTHS, *MONTH_SHORTS, "et"})
_CAPITALS_AHEAD = re.compile(r"-[A-Z]{2,}(?![a-z])")
_MARK = re.compile(r"\.{2,}|-{2,}|(?<=\s)[-–](?=\s)|[,.;:!?—…()\[\]{}|]")
_NO_STOPS = {s.removesuffix(".") for s in (*ABBREVIATIONS, *ENDINGS)} - {"etc", "min", "max"}
_NO_STOPS = {s.removesuffix(".") for s in (*ABBREVIATIONS, *ENDINGS)} - {"etc", "min", "max"}
SPLIT_RULES = SplitRules(
    titles=frozenset({*TITLES, *STREETS, *_NO_STOPS, *(s.capitalize() for s in _NO_STOPS)}),
    counted=frozenset({*COUNTED, *(c.capitalize() for c in COUNTED)}),
)


def normalize(script: Script) -> list[Piece]:
    """Read a script as English.

    Args:
        script: text with inserts; a plain string by `Script.plain`.

    Returns:
        Words without digits or symbols, marks, and pauses; their spans never go back.
    """
    text = fold(script.text)
    inserts = iter(script.inserts)
    pieces: list[Piece] = []
    for begin, end, said in _scan(text.text):
        span = text.span(begin, end)
        if said != INSERT:
            _add(pieces, said, span)
            continue
        insert = next(inserts)
        if not isinstance(insert, SayAs):
            pieces.append(insert)
        elif (words := say_as(insert)) is not None:
            _add(pieces, words, insert.span)
        else:
            pieces += normalize(Script(Traced.instead(insert.text, insert.span)))
    return pieces


def _scan(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield what is said of each range of the text, in order."""
    at = 0
    while at < len(text):
        if text[at] == INSERT:
            yield at, at + 1, INSERT
            at += 1
            continue
        if text[at].isspace():
            at += 1
            continue
        end, said = _said(text, at)
        if said:
            yield at, end, said
        at = end


def _said(text: str, at: int) -> tuple[int, str]:
    """Return where the next thing ends and what is said of it."""
    plain = _PLAIN_WORD.match(text, at)
    if plain and plain[0] not in _KNOWN:
        return plain.end(), plain[0]
    for rule in _RULES:
        match = rule.pattern.match(text, at)
        if match and match.end() > at:
            said = rule.say(match)
            if said is not None:
                return match.end(), said
    if is_letter(text[at]):
        end = _word_end(text, at)
        return end, text[at:end]
    mark = _MARK.match(text, at)
    if mark:
        closes_all = mark[0] in ")]}" and not text[mark.end() :].strip()
        return mark.end(), "" if closes_all else _mark(mark[0])
    return at + 1, ""


def _word_end(text: str, at: int) -> int:
    """Return the end of a word: letters, with apostrophes and hyphens between them."""
    end = at
    while end < len(text):
        character = text[end]
        if is_letter(character) or is_combining(character):
            end += 1
        elif character in "'-" and end + 1 < len(text) and is_letter(text[end + 1]):
            if _CAPITALS_AHEAD.match(text, end):  # "ex-BBC": the rules know how to spell
                break
            end += 1
        else:
            break
    return end


def _mark(text: str) -> str:
    if text in MARKS:
        return text
    if text[0] == ".":
        return "…"
    return "—" if text[0] in "-–" else ","


def _add(pieces: list[Piece], said: str, span: Span) -> None:
    for word in said.split():
        if word not in MARKS:
            pieces.append(Word(word, None, span))
            continue
        before = pieces[-1] if pieces else None
        if isinstance(before, Word):
            pieces.append(Mark(word, span))
        elif isinstance(before, Mark) and MARKS.index(word) < MARKS.index(before.text):
            pieces[-1] = Mark(word, before.span.to(span))

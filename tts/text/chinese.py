"""Chinese as it is read aloud, by wetext (Apache-2.0, extra `tts-zh`).

wetext does not tell where its words come from, so the two texts are aligned: what is equal keeps
its place, and what was rewritten stands for all that it replaced.
"""

import difflib
from functools import lru_cache
from typing import Any

from echoic.tts.text.pieces import MARKS, Mark, Piece, Word
from echoic.tts.text.script import INSERT, SayAs, Script
from echoic.tts.text.spans import Span, Traced
from echoic.tts.text.splitter import SplitRules

_FOLDED = str.maketrans("，、；：。！？", ",,;:.!?")
_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")


class ChineseFrontend:
    """Reads Chinese: each character is a word, other scripts are words as they stand.

    Raises:
        ImportError: wetext is not installed.
    """

    language = "zh"
    split_rules = SplitRules()

    def __init__(self) -> None:
        try:
            from wetext import Normalizer  # pyright: ignore[reportMissingImports]
        except ImportError as e:
            raise ImportError("Chinese text needs: pip install 'echoic[tts-zh]'") from e
        self._normalizer: Any = Normalizer(lang="zh", operator="tn")

    def normalize(self, script: Script) -> list[Piece]:
        """Read a script; `SayAs` inserts are read like any other text."""
        pieces: list[Piece] = []
        begin = 0
        for insert in script.inserts:
            end = script.text.text.index(INSERT, begin)
            self._read(script.text.part(begin, end), pieces)
            begin = end + 1
            if isinstance(insert, SayAs):
                self._read(Traced.instead(insert.text, insert.span), pieces)
            else:
                pieces.append(insert)
        self._read(script.text.part(begin, len(script.text)), pieces)
        return pieces

    def _read(self, text: Traced, pieces: list[Piece]) -> None:
        if not text.text.strip():
            return
        said = aligned(text, self._normalizer.normalize(text.text))
        begin = 0
        for end in range(1, len(said) + 1):
            if end < len(said) and _joins(said.text[end - 1], said.text[end]):
                continue
            _add(said.text[begin:end], said.span(begin, end), pieces)
            begin = end


def aligned(text: Traced, rewritten: str) -> Traced:
    """Return the rewritten text with the spans of the text it was made of."""
    if not rewritten:
        return Traced("", ())
    matcher = difflib.SequenceMatcher(None, text.text, rewritten, autojunk=False)
    spans: list[Span] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            spans += text.spans[a:b]
        elif kind == "replace":
            spans += [text.span(a, b)] * (d - c)
        elif kind == "insert":  # stands for its neighbour
            spans += [text.spans[min(a, len(text) - 1)]] * (d - c)
    return Traced(rewritten, tuple(spans))


@lru_cache(maxsize=4096)
def _is_han(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"


def _joins(left: str, right: str) -> bool:
    """Tell whether two characters are of one word."""
    if _is_han(left) or _is_han(right):
        return False
    return all(c.isalpha() or c in "'-" for c in (left, right))


def _add(text: str, span: Span, pieces: list[Piece]) -> None:
    mark = text.translate(_FOLDED)
    if mark in MARKS:
        if pieces and isinstance(pieces[-1], Word):
            pieces.append(Mark(mark, span))
    elif any(c.isalnum() for c in text):
        pieces.append(Word(text.translate(_DIGITS), None, span))

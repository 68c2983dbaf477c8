"""Which words of a document are to be spoken."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Where nobody puts blanks between words, each character is one.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class SpanSettings:
    """How much is spoken, and in what pieces (Zeng et al. 2024, arXiv 2411.17607, section 2.2).

    Attributes:
        eta: share of a document's words.
        length: mean of a span's words, which are drawn from Poisson's distribution.
        seed: of all that is drawn.

    Raises:
        ValueError: numbers out of their range.
    """

    eta: float = 0.3
    length: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.eta <= 1:
            raise ValueError(f"eta is {self.eta:g}, expected more than 0, and 1 at most")
        if not 1 <= self.length <= 1000:
            raise ValueError(f"a span of {self.length:g} words, expected 1 to 1000")


def seed_of(*parts: object) -> int:
    """Return a seed that any part changes, 0 to 2**63 - 1; the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def words_of(text: str) -> list[tuple[int, int]]:
    """Return where each word begins and ends."""
    return [match.span() for match in _WORD.finditer(text)]


def draw_spans(words: int, settings: SpanSettings, key: str) -> list[range]:
    """Draw the spans of a document.

    Their lengths are drawn until the share is covered, the last one as long as is left of it; then
    they are laid among the other words, each arrangement in which none touches another as likely
    as any. Where so many do not fit apart, some become one.

    Args:
        words: of the document.
        settings: see there.
        key: of the document; with the seed, all that the result depends on.

    Returns:
        Numbers of words, in order: `eta` times `words` of them in all, rounded.
    """
    random = np.random.Generator(np.random.PCG64(seed_of(settings.seed, key)))
    left = int(settings.eta * words + 0.5)
    slots = words - left + 1  # before, between and behind the words that stay
    lengths: list[int] = []
    while left:
        length = min(left, int(random.poisson(settings.length)))
        lengths += [length] * (length > 0)
        left -= length
    while len(lengths) > slots:
        lengths[-2:] = [sum(lengths[-2:])]
    if not lengths:
        return []
    places = np.sort(random.choice(slots, len(lengths), replace=False)).tolist()
    spans, before = [], 0
    for place, length in zip(places, random.permutation(lengths).tolist(), strict=True):
        spans.append(range(place + before, place + before + length))
        before += length
    return spans


def cut(text: str, spans: Sequence[range]) -> list[tuple[str, int]]:
    """Cut a text at its spans.

    Returns:
        Pieces that make the text again, none empty, and of how many words each is a span; 0 for
        what stays text.
    """
    places, pieces, end = words_of(text), [], 0
    for span in spans:
        start, stop = places[span.start][0], places[span.stop - 1][1]
        if start > end:
            pieces.append((text[end:start], 0))
        pieces.append((text[start:stop], len(span)))
        end = stop
    return [*pieces, (text[end:], 0)] if end < len(text) else pieces

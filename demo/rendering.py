"""Captions as HTML: words that are final, stable and open look different; all text is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Literal

from echoic.demo.transcript import Captions, Line, Piece

Look = Literal["final", "stable", "open"]


def clock(seconds: float) -> str:
    """Return a time for people: `1:07`, `1:00:07`."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def line_html(line: Line) -> str:
    """Return a line that is over."""
    return _row(line.start, _words(line.pieces, "final"))


def open_html(captions: Captions) -> str:
    """Return the line that is being said; nothing when there is none."""
    everything = (*captions.current.pieces, *captions.open)
    if not everything:
        return ""
    words = [
        _words(captions.current.pieces, "final"),
        _words(captions.open[: captions.stable], "stable"),
        _words(captions.open[captions.stable :], "open"),
    ]
    return _row(everything[0].word.start, "".join(words))


def word_title(piece: Piece) -> str:
    """Return what a word shows under the pointer: its times, and how sure the model is."""
    word = piece.word
    sure = f" · {100 * min(1.0, max(0.0, word.confidence)):.0f} % sure" if word.confidence else ""
    return f"{word.start:.2f} – {word.end:.2f} s{sure}"


def _row(start: float, words: str) -> str:
    return f'<time class="ec-at">{clock(start)}</time><p class="ec-said">{words.lstrip()}</p>'


def _words(pieces: Iterable[Piece], look: Look) -> str:
    return "".join(
        f'{escape(piece.gap)}<span class="ec-word ec-{look}" '
        f'title="{escape(word_title(piece))}">{escape(piece.word.text)}</span>'
        for piece in pieces
    )

"""What is read aloud: words, marks and pauses, each with its place in the source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from echoic.tts.text.spans import Span

# From the one that changes the voice most to the one that changes it least.
MARKS = "?!.…;:—,"


class Word(NamedTuple):
    """One word to say.

    Attributes:
        text: its spelling, without digits or symbols; blanks only if mark-up gave its phonemes.
        phonemes: how it sounds, or None if nobody has said so.
        span: what it stands for in the source; "$5" gives two words with one span.
    """

    text: str
    phonemes: str | None
    span: Span


class Mark(NamedTuple):
    """Punctuation after a word: one of `MARKS`."""

    text: str
    span: Span


class Pause(NamedTuple):
    """Silence that the source asks for."""

    seconds: float
    span: Span


Piece = Word | Mark | Pause


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is said in one go.

    Attributes:
        pieces: words, marks and pauses; at least one word or pause.
        span: the part of the source that was read.
    """

    pieces: tuple[Piece, ...]
    span: Span

    @property
    def words(self) -> tuple[Word, ...]:
        """The words alone."""
        return tuple(p for p in self.pieces if isinstance(p, Word))

    @property
    def text(self) -> str:
        """The words and marks as a line of text."""
        return spoken_text(self.pieces)

    @property
    def phonemes(self) -> str:
        """The phonemes and marks as a line of text.

        Raises:
            ValueError: a word has no phonemes.
        """
        for word in self.words:
            if word.phonemes is None:
                raise ValueError(f"{word.text!r} has no phonemes; give the front end a G2P")
        return _line((p, p.phonemes if isinstance(p, Word) else "") for p in self.pieces)


def spoken_text(pieces: Sequence[Piece]) -> str:
    """Return words and marks as a line of text."""
    return _line((p, p.text if isinstance(p, Word) else "") for p in pieces)


def separator(before: Piece | None, piece: Piece) -> str:
    """Return what stands between two pieces of a line: a blank or nothing."""
    if before is None or isinstance(piece, Pause):
        return ""
    return " " if isinstance(piece, Word) or piece.text == "—" else ""


def _line(spelled: Iterable[tuple[Piece, str | None]]) -> str:
    line = ""
    before: Piece | None = None
    for piece, text in spelled:
        if isinstance(piece, Pause):
            continue
        line += separator(before, piece) + (piece.text if isinstance(piece, Mark) else text or "")
        before = piece
    return line

"""What a live transcription looks like so far: events in, lines of words out. A pure function.

A line ends where silence ended an utterance. Its words stay; only the open words at the end of the
last line may still change, and of those not the `stable` ones at the front.
"""

from dataclasses import dataclass, field, replace

from echoic.streaming.events import Event, EventWord

NUM_NEWEST = 20


@dataclass(frozen=True, slots=True)
class Piece:
    """A word in its line; `gap` is what stands before it: a space, or nothing in some scripts."""

    word: EventWord
    gap: str = " "


@dataclass(frozen=True, slots=True)
class Line:
    """Words that were said without a long pause, as far as they are final."""

    pieces: tuple[Piece, ...] = ()

    @property
    def text(self) -> str:
        """The words in one line."""
        return "".join(piece.gap + piece.word.text for piece in self.pieces).strip()

    @property
    def start(self) -> float:
        """Where the first word begins, in seconds; 0 without words."""
        return self.pieces[0].word.start if self.pieces else 0.0

    @property
    def end(self) -> float:
        """Where the last word ends, in seconds; 0 without words."""
        return self.pieces[-1].word.end if self.pieces else 0.0


@dataclass(frozen=True, slots=True)
class Captions:
    """A live transcription.

    Attributes:
        closed: lines that are over.
        current: the final words of the line that is not.
        open: words after them that are not final.
        stable: how many of the open words, at the front, will not change.
        num_final: final words, also those that were cleared.
        said: the most words there were at any time, so that it grows when a word is shown first.
        newest: where the words that were shown last end, in seconds; the last few.
    """

    closed: tuple[Line, ...] = ()
    current: Line = field(default_factory=Line)
    open: tuple[Piece, ...] = ()
    stable: int = 0
    num_final: int = 0
    said: int = 0
    newest: tuple[float, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """All final words, in lines."""
        return (*self.closed, self.current) if self.current.pieces else self.closed

    def after(self, event: Event) -> "Captions":
        """Return the captions when an event has come."""
        if event.type == "endpoint":
            return self.ended()
        pieces = _pieces(event)
        if event.type == "partial":
            captions = replace(self, open=pieces, stable=event.stable)
        else:
            line = Line((*self.current.pieces, *pieces))
            captions = replace(
                self, current=line, open=(), stable=0, num_final=self.num_final + len(pieces)
            )
        gained = self.num_final + len(pieces) - self.said
        if gained <= 0:
            return captions
        ends = tuple(piece.word.end for piece in pieces[-gained:])
        newest = (*self.newest, *ends)[-NUM_NEWEST:]
        return replace(captions, said=self.said + gained, newest=newest)

    def ended(self) -> "Captions":
        """Return the captions when the line is over; open words that never got final are gone."""
        return replace(self, closed=self.lines, current=Line(), open=(), stable=0)

    def cleared(self) -> "Captions":
        """Return captions without words; those that are open come again with the next event."""
        return Captions(num_final=self.num_final, said=self.said, newest=self.newest)


def _pieces(event: Event) -> tuple[Piece, ...]:
    """Return the event's words with what stands between them in its text."""
    text, words = event.text, event.words
    if not words and text.strip():  # a recogniser without word times
        return (Piece(EventWord(text.strip(), event.start, event.end, 0.0)),)
    gaps, position = [], 0
    for word in words:
        found = text.find(word.text, position)
        gaps.append(" " if found < 0 else text[position:found])
        position = position if found < 0 else found + len(word.text)
    if gaps:  # what stands before an event is not in it: scripts without spaces have none there
        gaps[0] = " " if len(gaps) == 1 or any(gaps[1:]) else ""
    return tuple(Piece(word, gap) for word, gap in zip(words, gaps, strict=True))

"""When each word of an utterance was said, by a talker whose text runs along with its speech."""

from collections.abc import Sequence
from typing import NamedTuple

from echoic.tts.text.pieces import Utterance, Word


class SaidWord(NamedTuple):
    """A word and its times.

    Attributes:
        text: as it was read.
        start: seconds.
        end: seconds.
    """

    text: str
    start: float
    end: float


def said_words(
    utterance: Utterance,
    pieces: Sequence[int],
    begins: Sequence[int],
    frames: int,
    frame_rate: float,
    start: float = 0.0,
) -> list[SaidWord]:
    """Return the words that were said, in their order.

    Args:
        utterance: what was to be said.
        pieces: of each unit, which piece of the utterance it is of; see `Encoded`.
        begins: the first frame of each unit that was said, fewer than units where speech was cut.
        frames: that were said.
        frame_rate: of them, a second.
        start: seconds before the first one.
    """
    ends = [*begins[1:], frames]
    spans: dict[int, tuple[int, int]] = {}
    for piece, begin, end in zip(pieces, begins, ends, strict=False):
        first, _ = spans.get(piece, (begin, end))
        spans[piece] = first, end
    return [
        SaidWord(piece.text, start + begin / frame_rate, start + end / frame_rate)
        for index, piece in enumerate(utterance.pieces)
        if isinstance(piece, Word) and index in spans
        for begin, end in (spans[index],)
    ]

"""Where a long stream may be cut, and what the two sides of a cut say twice."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.asr.whisper.word_times import CLOSING_MARKS, OPENING_MARKS, SENTENCE_ENDS, TimedWord

# A cut leaves so many seconds of sound: enough to hear words in context, little enough to pay for.
SHORTEST_LEFT = 3.0
LONGEST_LEFT = 10.0
# Attention tells the boundary between two words to about this many seconds.
TIME_ERROR = 0.2
# A boundary between sentences is preferred to one that is quieter by so many decibels.
SENTENCE_BONUS = 12.0
# Words on both sides of a cut that are compared.
LONGEST_OVERLAP = 5

_WINDOW = SAMPLE_RATE // 25
_HOP = SAMPLE_RATE // 100


class Cut(NamedTuple):
    """Close the first `words` words and drop the sound before `sample` of the buffer."""

    words: int
    sample: int


def normalized(text: str) -> str:
    """Return a word as hypotheses compare it: without case and the marks around it."""
    return text.strip().casefold().strip("".join(CLOSING_MARKS | OPENING_MARKS) + "-…")


def find_cut(words: Sequence[TimedWord], sound: Tensor, *, keep_last: bool) -> Cut | None:
    """Choose between which two words to cut: in a pause, at a sentence's end if there is one.

    Args:
        words: committed, with times in seconds of the buffer.
        sound: (N,), the buffer.
        keep_last: whether the last word must stay, as the prefix that anchors what follows.

    Returns:
        The cut, or None when no boundary leaves enough sound behind it.
    """
    seconds = len(sound) / SAMPLE_RATE
    candidates = range(1, len(words) + (0 if keep_last else 1))
    left = {i: seconds - words[i - 1].end for i in candidates}
    allowed = [i for i in candidates if left[i] >= SHORTEST_LEFT]
    short = [i for i in allowed if left[i] <= LONGEST_LEFT]
    places = {i: _quietest(words, i, sound) for i in short or allowed[-1:]}
    if not places:
        return None

    def rank(i: int) -> float:
        ends_sentence = words[i - 1].text.rstrip()[-1:] in SENTENCE_ENDS
        return places[i].level - (SENTENCE_BONUS if ends_sentence else 0.0)

    best = min(places, key=rank)
    return Cut(best, places[best].sample)


class _Place(NamedTuple):
    """A sample of the buffer, and the level around it in decibels."""

    sample: int
    level: float


def _quietest(words: Sequence[TimedWord], count: int, sound: Tensor) -> _Place:
    """Look around the end of a word, but not beyond the middles of it and of the next."""
    word = words[count - 1]
    low = max(word.end - TIME_ERROR, (word.start + word.end) / 2)
    high = word.end + TIME_ERROR
    if count < len(words):
        following = words[count]
        high = max(following.start, min(high, (following.start + following.end) / 2))
    start = max(0, min(int(low * SAMPLE_RATE), len(sound) - _WINDOW))
    part = sound[start : max(start + _WINDOW, int(high * SAMPLE_RATE))]
    power = part.unfold(0, min(_WINDOW, len(part)), _HOP).square().mean(1)
    at = int(torch.argmin(power))
    return _Place(start + at * _HOP + _WINDOW // 2, 10 * math.log10(float(power[at]) + 1e-10))


def overlap(before: Sequence[str], words: Sequence[TimedWord], *, limit: float) -> int:
    """Return how many first words only repeat the last ones before a cut.

    Args:
        before: the last words said before the cut.
        words: heard behind it, with times in seconds from the cut.
        limit: seconds from the cut within which the repeated words must end: what is said twice
            in earnest takes longer than what a cut leaves of a word.
    """
    longest = min(LONGEST_OVERLAP, len(before), len(words))
    for count in range(longest, 0, -1):
        said = [normalized(text) for text in before[-count:]]
        again = [normalized(word.text) for word in words[:count]]
        if said == again and words[count - 1].end <= limit:
            return count
    return 0

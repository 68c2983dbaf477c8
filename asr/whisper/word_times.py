"""From token frames to words with times: joining tokens, marks and words, and taming long words.

The raw times come from `align`. Attention cannot see pauses, so the words around one come out too
long; they are cut by the rules of OpenAI's `add_word_timestamps`, stated here in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from echoic.asr.transcript import Word
from echoic.asr.whisper.alignment import SECONDS_PER_FRAME, align
from echoic.asr.whisper.tokenizer import WordTokens

__all__ = [
    "SegmentSpan",
    "TimedSegment",
    "TimedWord",
    "align",
    "merge_punctuation",
    "segment_word_times",
    "shorten_at_sentences",
    "time_words",
    "typical_duration",
    "word_times",
]

OPENING_MARKS = frozenset("\"'“¿([{-")
CLOSING_MARKS = frozenset("\"'.。,，!！?？:：”)]}、")
SENTENCE_ENDS = frozenset(".。!！?？")

_LONGEST_TYPICAL = 0.7
# A segment's own times win over its words' where they differ by more than this, in seconds.
_TOLERANCE = 0.5


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with the ids that spell it; times in seconds from the window's start."""

    text: str
    ids: tuple[int, ...]
    start: float
    end: float
    probability: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def to_word(self, offset: float = 0.0) -> Word:
        """Return the word as transcripts hold it, `offset` seconds later, in hundredths."""
        return Word(
            start=round(offset + self.start, 2),
            end=round(offset + self.end, 2),
            word=self.text,
            probability=self.probability,
        )


class SegmentSpan(NamedTuple):
    """A segment as decoded: its times in seconds of the recording, its number of text tokens."""

    start: float
    end: float
    num_tokens: int


class TimedSegment(NamedTuple):
    """A segment's words, and its times moved to fit them."""

    words: tuple[Word, ...]
    start: float
    end: float


def word_times(
    words: Sequence[WordTokens],
    token_frames: Sequence[int] | np.ndarray,
    token_probabilities: Sequence[float],
    *,
    offset: float = 0.0,
) -> list[Word]:
    """Return words with times for text that was aligned as a whole.

    Args:
        words: the text tokens grouped by `WhisperTokenizer.split_to_words`.
        token_frames: what `align` returned: a frame for every token and one for the end.
        token_probabilities: probability of every text token.
        offset: seconds of recording before the first frame.

    Raises:
        ValueError: the three do not have matching lengths.
    """
    timed = time_words(words, token_frames, token_probabilities)
    timed = shorten_at_sentences(timed, 2 * typical_duration(timed))
    return [word.to_word(offset) for word in merge_punctuation(timed)]


def segment_word_times(
    words: Sequence[WordTokens],
    token_frames: Sequence[int] | np.ndarray,
    token_probabilities: Sequence[float],
    segments: Sequence[SegmentSpan],
    *,
    offset: float = 0.0,
    last_speech_end: float = 0.0,
) -> list[TimedSegment]:
    """Return words with times for a window whose text falls into several segments.

    Args:
        words: the text tokens of all segments, grouped by `WhisperTokenizer.split_to_words`.
        token_frames: what `align` returned for them.
        token_probabilities: probability of every text token.
        segments: in order; their `num_tokens` add up to the tokens of `words`.
        offset: seconds of recording before the first frame.
        last_speech_end: where the text before this window ended, in seconds of the recording.

    Raises:
        ValueError: lengths do not match.
    """
    timed = time_words(words, token_frames, token_probabilities)
    expected = sum(segment.num_tokens for segment in segments)
    found = sum(len(word.ids) for word in timed)
    if expected != found:
        raise ValueError(f"the segments have {expected} text tokens, the words {found}")
    typical = typical_duration(timed)
    timed = merge_punctuation(shorten_at_sentences(timed, 2 * typical))
    results: list[TimedSegment] = []
    for segment, group in zip(segments, _by_segment(timed, segments), strict=True):
        fitted = _fit([word.to_word(offset) for word in group], segment, typical, last_speech_end)
        results.append(fitted)
        last_speech_end = fitted.end if group else last_speech_end
    return results


def time_words(
    words: Sequence[WordTokens],
    token_frames: Sequence[int] | np.ndarray,
    token_probabilities: Sequence[float],
) -> list[TimedWord]:
    """Give every word the time of its first token, and as its end the start of the next word.

    Raises:
        ValueError: lengths do not match.
    """
    total = sum(len(word.ids) for word in words)
    if len(token_frames) != total + 1 or len(token_probabilities) != total:
        raise ValueError(
            f"{total} tokens want {total + 1} frames and {total} probabilities, "
            f"got {len(token_frames)} and {len(token_probabilities)}"
        )
    timed: list[TimedWord] = []
    at = 0
    for word in words:
        following = at + len(word.ids)
        timed.append(
            TimedWord(
                text=word.text,
                ids=word.ids,
                start=float(token_frames[at]) * SECONDS_PER_FRAME,
                end=float(token_frames[following]) * SECONDS_PER_FRAME,
                probability=float(np.mean(token_probabilities[at:following])),
            )
        )
        at = following
    return timed


def typical_duration(words: Sequence[TimedWord]) -> float:
    """Return the median length of the words that have one, at most 0.7 s; 0 for none."""
    durations = [word.duration for word in words if word.duration > 0]
    return min(_LONGEST_TYPICAL, float(np.median(durations))) if durations else 0.0


def shorten_at_sentences(words: Sequence[TimedWord], longest: float) -> list[TimedWord]:
    """Cut long words where a sentence ends or begins: the pause there is not theirs.

    Args:
        words: before marks are merged with their neighbours.
        longest: seconds that a mark, or the word after one, may take; 0 leaves all as it is.
    """
    shortened = list(words)
    if longest <= 0:
        return shortened
    for i, word in enumerate(words[1:], start=1):
        if word.duration <= longest:
            continue
        if word.text in SENTENCE_ENDS:
            shortened[i] = replace(word, end=word.start + longest)
        elif words[i - 1].text in SENTENCE_ENDS:
            shortened[i] = replace(word, start=word.end - longest)
    return shortened


def merge_punctuation(
    words: Sequence[TimedWord],
    opening: frozenset[str] = OPENING_MARKS,
    closing: frozenset[str] = CLOSING_MARKS,
) -> list[TimedWord]:
    """Join marks to the word that they belong to, which keeps its times and probability.

    Args:
        words: as they were split.
        opening: marks that, with a space before them, join the next word.
        closing: marks that, without one, join the word before.
    """
    joined: list[TimedWord] = []
    for word in reversed(words):
        if joined and word.text.startswith(" ") and _only(word.text.strip(), opening):
            joined[-1] = _join(word, joined[-1], times=joined[-1])
        else:
            joined.append(word)
    merged: list[TimedWord] = []
    for word in reversed(joined):
        if merged and not merged[-1].text.endswith(" ") and _only(word.text, closing):
            merged[-1] = _join(merged[-1], word, times=merged[-1])
        else:
            merged.append(word)
    return merged


def _only(text: str, marks: frozenset[str]) -> bool:
    return bool(text) and all(c in marks for c in text)


def _join(left: TimedWord, right: TimedWord, times: TimedWord) -> TimedWord:
    return replace(times, text=left.text + right.text, ids=left.ids + right.ids)


def _by_segment(
    words: Sequence[TimedWord], segments: Sequence[SegmentSpan]
) -> list[list[TimedWord]]:
    """A word belongs to the segment of its first token."""
    groups: list[list[TimedWord]] = [[] for _ in segments]
    ends = np.cumsum([segment.num_tokens for segment in segments])
    at = 0
    for word in words:
        groups[int(np.searchsorted(ends, at, side="right"))].append(word)
        at += len(word.ids)
    return groups


def _fit(
    words: list[Word], segment: SegmentSpan, typical: float, last_speech_end: float
) -> TimedSegment:
    if not words:
        return TimedSegment((), segment.start, segment.end)
    if words[0].end - last_speech_end > 4 * typical:
        _shorten_after_pause(words, 2 * typical)
    first, start = words[0], segment.start
    if first.start + _TOLERANCE < start < first.end:
        words[0] = replace(first, start=max(0.0, min(first.end - typical, start)))
    else:
        start = first.start
    last, end = words[-1], segment.end
    if last.start < end < last.end - _TOLERANCE:
        words[-1] = replace(last, end=max(last.start + typical, end))
    else:
        end = last.end
    rounded = tuple(
        replace(word, start=round(word.start, 2), end=round(word.end, 2)) for word in words
    )
    return TimedSegment(rounded, round(start, 2), round(end, 2))


def _shorten_after_pause(words: list[Word], longest: float) -> None:
    """The first one or two words after a pause reach back into it: cut them from the left."""
    first, second = words[0], words[1] if len(words) > 1 else None
    both = second.end - first.start if second else 0.0
    if first.end - first.start <= longest and both <= 2 * longest:
        return
    if second and second.end - second.start > longest:
        boundary = max(second.end / 2, second.end - longest)
        words[0] = first = replace(first, end=boundary)
        words[1] = replace(second, start=boundary)
    words[0] = replace(first, start=max(0.0, first.end - longest))

"""When the words of a live hypothesis are spoken.

Two witnesses: a token is first said at the end of the block in which it was heard to its end
(Krichli et al. 2025, section 3.5), and the alignment heads look at its sound when they predict it.
The attention tells where, the block bounds the end.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from echoic.asr.languages import UNSPACED
from echoic.asr.whisper.alignment import SECONDS_PER_FRAME
from echoic.asr.whisper.streaming.track import Track
from echoic.asr.whisper.tokenizer import WhisperTokenizer, WordTokens
from echoic.streaming.events import EventWord

# Where a token is spoken by the attention that predicts it: a quarter of it lies before its
# beginning and this many seconds, half of it before its end and that many. Medians over the words
# of 40 recordings against alignment of the reference; of their distances, 0.04 and 0.08 s are left.
BEGIN_QUANTILE, BEGIN_LATE = 0.25, 0.17
END_QUANTILE, END_LATE = 0.5, 0.03
# Words that are nearer to each other touch.
LEAST_PAUSE = 0.2
SHORTEST_WORD = 0.06


class TokenTimes(NamedTuple):
    """Seconds of the utterance at which tokens begin and end."""

    begins: list[float]
    ends: list[float]


def token_times(
    attention: Tensor, num_tokens: int, *, offset: float, after: float, now: float
) -> TokenTimes:
    """Return where the tokens of a tail are spoken.

    Args:
        attention: (heads, num_tokens + 1, T), see `Tail`.
        num_tokens: of the tail.
        offset: seconds of the utterance at the first frame.
        after: where the token before the tail begins, in seconds of the utterance.
        now: seconds heard.
    """
    if not num_tokens:
        return TokenTimes([], [])
    first = int(np.clip((after - offset) / SECONDS_PER_FRAME, 0, attention.shape[2] - 1))
    heard = attention[:, :num_tokens, first:].mean(0).double().cumsum(-1)
    heard = heard / heard[:, -1:].clamp(min=1e-12)

    def quantile(share: float, late: float) -> list[float]:
        frames = (heard < share).sum(-1) + first
        times = offset + frames.numpy(force=True) * SECONDS_PER_FRAME - late
        return np.clip(np.maximum.accumulate(times), after, now).tolist()

    return TokenTimes(quantile(BEGIN_QUANTILE, BEGIN_LATE), quantile(END_QUANTILE, END_LATE))


class SpokenWord(NamedTuple):
    """A word of a live hypothesis, marks included.

    Attributes:
        shown: text, times and confidence.
        spelled: its text with the space before it, if there is one.
        length: number of its tokens.
    """

    shown: EventWord
    spelled: str
    length: int

    @property
    def is_marks(self) -> bool:
        """Whether it has no letter or digit: an opening mark, which the next word joins."""
        return not _has_letters(self.spelled)


def spoken_words(
    tokenizer: WhisperTokenizer,
    tokens: Track,
    *,
    language: str,
    after: float,
    settled: Sequence[tuple[float, float]] = (),
) -> list[SpokenWord]:
    """Group tokens into words with times and confidence; the words do not overlap in time.

    Args:
        tokenizer: of the model.
        tokens: of the open text.
        language: code of it.
        after: where the word before them ends.
        settled: begin and end of the first words, where they were told before.
    """
    found: list[SpokenWord] = []
    at = 0
    words = tokenizer.split_to_words(tokens.ids, language)
    for word in merged(words, spaced=language not in UNSPACED):
        spoken = at + _spoken(tokenizer, word)
        if len(found) < len(settled):
            start, end = settled[len(found)]
        else:
            start, end = _span(tokens, at, spoken, at + len(word.ids), after)
        confidence = float(tokens.probabilities[0, at:spoken].mean())
        shown = EventWord(word.text.strip(), start, end, confidence)
        found.append(SpokenWord(shown, word.text, len(word.ids)))
        at, after = at + len(word.ids), end
    return found


def _span(
    tokens: Track, first: int, spoken: int, following: int, after: float
) -> tuple[float, float]:
    """Return begin and end of the word whose letters end before the token `spoken`."""
    start, end = float(tokens.begins[0, first]), float(tokens.ends[0, spoken - 1])
    said = float(tokens.said[0, spoken - 1])
    if following < tokens.length:
        begin = float(tokens.begins[0, following])
        end = begin if begin < end + LEAST_PAUSE else end
    start = max(start, after)
    # By the model's delay, no word is said before it was heard to its end.
    end = min(max(end, start + SHORTEST_WORD), said)
    start = max(min(start, end - SHORTEST_WORD), after)
    return start, max(start, end)


def merged(words: Sequence[WordTokens], *, spaced: bool) -> list[WordTokens]:
    """Join what no space parts, or marks to the word before them; and opening marks to the next.

    Args:
        words: of `split_to_words`, which parts "o'clock" and "3.5".
        spaced: whether the language has spaces between words.
    """
    joined: list[WordTokens] = []
    for word in words:
        goes_on = not word.text.startswith(" ") and (spaced or not _has_letters(word.text))
        if joined and (goes_on or not _has_letters(joined[-1].text)):
            joined[-1] = _plus(joined[-1], word)
        else:
            joined.append(word)
    return joined


def _has_letters(text: str) -> bool:
    # U+FFFD is a part of a letter, the rest of which is another token.
    return any(c.isalnum() or c == "\ufffd" for c in text)


def _plus(a: WordTokens, b: WordTokens) -> WordTokens:
    return WordTokens(a.text + b.text, a.ids + b.ids)


def _spoken(tokenizer: WhisperTokenizer, word: WordTokens) -> int:
    """Return how many of a word's tokens are up to its last letter: marks take no time."""
    for count in range(len(word.ids), 1, -1):
        if _has_letters(tokenizer.decode(word.ids[count - 1 : count])):
            return count
    return 1

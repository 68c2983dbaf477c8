"""From a decoding's steps to words with times, and which of them can be believed."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from echoic.asr.guards import cut_loop
from echoic.asr.languages import UNSPACED
from echoic.asr.whisper.alignment import align
from echoic.asr.whisper.streaming.continuation import Heard, Reading, Step
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.whisper.word_times import (
    TimedWord,
    merge_punctuation,
    shorten_at_sentences,
    time_words,
    typical_duration,
)

# Fast speech has about 6.5 tokens a second. A loop has its words heaped up where the sound ends.
BELIEVABLE_TOKENS_PER_SECOND = 9.0
BELIEVABLE_TOKENS_AT_ONCE = 5

_INCOMPLETE = "\ufffd"


def timed_tail(
    tokenizer: WhisperTokenizer,
    heard: Heard,
    reading: Reading,
    steps: Sequence[Step],
    *,
    num_committed: int,
    language: str | None,
) -> list[TimedWord]:
    """Return the words behind the committed ones, with times in seconds of the buffer.

    Args:
        tokenizer: of the model.
        heard: the sound.
        reading: the decoding.
        steps: taken of it; the token of the last one is not part of the text.
        num_committed: committed tokens in the reading's prefix.
        language: of the text.
    """
    tokens = before_loop([step.token for step in steps[:-1]])
    if not tokens:
        return []
    rows = [step.attention for step in steps[: len(tokens) + 1]]
    frames = align(
        torch.cat([reading.rows, torch.stack(rows, dim=1)], dim=1),
        first_row=reading.first_row,
        num_tokens=num_committed + len(tokens),
        num_frames=heard.num_frames,
    )[num_committed:]
    words = tokenizer.split_to_words(tokens, language or "en")
    timed = time_words(words, frames, [step.confidence for step in steps[: len(tokens)]])
    timed = merge_punctuation(shorten_at_sentences(timed, 2 * typical_duration(timed)))
    if language not in UNSPACED:
        timed = glued(timed)
    return timed[:-1] if _INCOMPLETE in timed[-1].text else timed


def glued(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Join what no space divides: "ill" and "-disposed" are given out together."""
    whole: list[TimedWord] = []
    for word in words:
        if not whole or word.text.startswith(" "):
            whole.append(word)
            continue
        left = whole[-1]
        tokens = len(left.ids) + len(word.ids)
        total = left.probability * len(left.ids) + word.probability * len(word.ids)
        whole[-1] = TimedWord(
            left.text + word.text, left.ids + word.ids, left.start, word.end, total / tokens
        )
    return whole


def before_loop(tokens: Sequence[int]) -> Sequence[int]:
    """Return what comes before a phrase that repeats to the end, three times or more."""
    once = cut_loop(tokens)
    if len(once) == len(tokens):
        return tokens
    periods = range(1, len(once) + 1)
    period = next(p for p in periods if list(tokens[-p:]) == list(tokens[-2 * p : -p]))
    return tokens[: len(once) - period]


def believable(words: Sequence[TimedWord], since: float) -> int:
    """Return how many first words can have been said, by the time that each of them ended.

    Args:
        words: behind those that were committed.
        since: where the committed ones end, on the words' clock.
    """
    tokens = 0
    for count, word in enumerate(words):
        tokens += len(word.ids)
        if tokens > believable_tokens(word.end - since):
            return count
    return len(words)


def believable_tokens(seconds: float) -> int:
    """Return how many tokens can have been said in a time."""
    return BELIEVABLE_TOKENS_AT_ONCE + int(BELIEVABLE_TOKENS_PER_SECOND * max(0.0, seconds))


def shifted(words: Sequence[TimedWord], seconds: float, *, earliest: float) -> list[TimedWord]:
    """Return words on a clock that began `seconds` earlier; none starts before `earliest`.

    Times never go back, neither from word to word nor inside one.
    """
    moved: list[TimedWord] = []
    for word in words:
        start = max(earliest, round(word.start + seconds, 3))
        earliest = max(start, round(word.end + seconds, 3))
        moved.append(replace(word, start=start, end=earliest))
    return moved

"""From the tokens of a window to segments: cut at the times that the model wrote."""

from collections.abc import Sequence
from typing import NamedTuple

from echoic.asr.whisper.rules import SECONDS_PER_TIMESTAMP
from echoic.asr.whisper.tokenizer import WhisperTokenizer


class Span(NamedTuple):
    """Text tokens between two times, in seconds from the window's start."""

    start: float
    end: float
    tokens: tuple[int, ...]


def split_at_times(tokens: Sequence[int], first_time: int, seconds: float) -> list[Span]:
    """Cut a window's answer into spans.

    Args:
        tokens: text and time tokens.
        first_time: id of the time 0.00 s.
        seconds: length of the window, for text that no time closes.
    """
    spans: list[Span] = []
    start, text = 0.0, []
    for token in tokens:
        if token < first_time:
            text.append(token)
            continue
        time = (token - first_time) * SECONDS_PER_TIMESTAMP
        if text:
            spans.append(Span(start, max(start, time), tuple(text)))
            text = []
        start = time
    if text:
        spans.append(Span(start, max(start, seconds), tuple(text)))
    return [Span(min(s.start, seconds), min(s.end, seconds), s.tokens) for s in spans]


def last_time(tokens: Sequence[int], first_time: int) -> float | None:
    """Return the last time the model wrote, in seconds, when nothing was said after it."""
    if not tokens or tokens[-1] < first_time:
        return None
    return (tokens[-1] - first_time) * SECONDS_PER_TIMESTAMP


def text_spans(tokenizer: WhisperTokenizer, tokens: Sequence[int], seconds: float) -> list[Span]:
    """Return the spans of a window's answer that hold more than blanks."""
    found = split_at_times(tokens, tokenizer.timestamp_begin, seconds)
    return [span for span in found if tokenizer.decode(span.tokens).strip()]

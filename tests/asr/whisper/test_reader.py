"""Windows that Whisper read: where their segments lie, and what is to be read once more."""

import pytest
import torch
from speech_data import tiny_en_checkpoint

from echoic.asr.transcript import Word
from echoic.asr.whisper.decoding import Decoded
from echoic.asr.whisper.hypothesis import Hypothesis
from echoic.asr.whisper.reader import MIN_REST_SECONDS, read_out
from echoic.asr.windows import Window

RATE = 16_000
TOKENIZER = tiny_en_checkpoint().tokenizer
FIRST = TOKENIZER.timestamp_begin


def window(start: float, seconds: float, speech: float | None = None) -> Window:
    begin = round(start * RATE)
    end = begin + round((seconds if speech is None else speech) * RATE)
    return Window(begin, torch.zeros(round(seconds * RATE)), end)


def decoded(*parts: float | str, complete: bool = True, silence: bool = False) -> Decoded:
    """Times in seconds and texts, as the model writes them."""
    tokens: list[int] = []
    for part in parts:
        if isinstance(part, str):
            tokens += TOKENIZER.encode(part)
        else:
            tokens.append(FIRST + round(part / 0.02))
    return Decoded(
        hypothesis=Hypothesis(tuple(tokens), -3.0, 0.1, complete),
        text=TOKENIZER.decode(tokens),
        temperature=0.2,
        compression_ratio=1.1,
        is_silence=silence,
    )


def test_segments_lie_between_the_times_that_the_model_wrote():
    found = read_out(TOKENIZER, window(3, 9), decoded(0.5, " first", 2.0, 2.0, " second", 8.9))
    assert [(s.start, s.end, s.text) for s in found.segments] == [
        (0.5, 2.0, " first"),
        (2.0, 8.9, " second"),
    ]
    assert {s.temperature for s in found.segments} == {0.2}
    assert all(s.words is None for s in found.segments)


@pytest.mark.parametrize(
    ("answer", "seconds", "speech"),
    [
        (decoded(0.0, " all of it", 9.0), 10.0, None),  # too little is left
        (decoded(0.0, " no end"), 10.0, None),
        (decoded(0.0, " in a loop", 4.0, complete=False), 10.0, None),
        (decoded(0.0, " short", MIN_REST_SECONDS - 0.1), 10.0, None),
        (decoded(0.0, " then quiet", 4.0), 10.0, 5.0),
        (decoded(0.0, " you", 2.0, silence=True), 10.0, None),
    ],
)
def test_a_window_is_done(answer: Decoded, seconds: float, speech: float | None):
    assert read_out(TOKENIZER, window(5, seconds, speech), answer).rest is None


def test_the_rest_begins_where_the_model_stopped_early():
    assert read_out(TOKENIZER, window(5, 10), decoded(0.0, " the first half", 4.0)).rest == 4.0


def test_silence_has_no_segments():
    assert read_out(TOKENIZER, window(5, 10), decoded(0.0, " you", 2.0, silence=True)) == ((), None)


def test_words_give_the_segment_its_times():
    words = [[Word(0.3, 0.8, " one", 0.9), Word(0.9, 1.44, " two", 0.8)], []]
    answer = decoded(0.0, " one two", 2.0, 2.0, " three", 5.9)
    first, second = read_out(TOKENIZER, window(7, 6), answer, words).segments
    assert (first.start, first.end, first.words) == (0.3, 1.44, tuple(words[0]))
    assert (second.start, second.end, second.words) == (2.0, 5.9, ())

from hypothesis import given
from hypothesis import strategies as st
from speech_data import tiny_en_checkpoint

from echoic.asr.whisper.segments import Span, last_time, split_at_times, text_spans

FIRST = 1000
ANSWERS = st.lists(st.integers(0, 40) | st.integers(FIRST, FIRST + 300), max_size=40)


def in_order(tokens: list[int]) -> list[int]:
    """The same answer with times that never go back, as the rules make it."""
    times = iter(sorted(i for i in tokens if i >= FIRST))
    return [next(times) if i >= FIRST else i for i in tokens]


@given(ANSWERS, st.floats(0.02, 30.0))
def test_every_word_appears_once_and_in_time(tokens: list[int], seconds: float):
    tokens = in_order(tokens)
    spans = split_at_times(tokens, FIRST, seconds)
    assert [i for span in spans for i in span.tokens] == [i for i in tokens if i < FIRST]
    assert all(span.tokens for span in spans)
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= seconds for edge in edges)


@given(ANSWERS, st.floats(0.02, 30.0))
def test_whatever_the_model_writes_stays_inside(tokens: list[int], seconds: float):
    spans = split_at_times(tokens, FIRST, seconds)
    assert [i for span in spans for i in span.tokens] == [i for i in tokens if i < FIRST]
    assert all(0 <= span.start <= span.end <= seconds for span in spans)


def test_times_cut():
    answer = [FIRST, 1, 2, FIRST + 50, FIRST + 60, 3, FIRST + 100]
    assert split_at_times(answer, FIRST, 5.0) == [
        Span(0.0, 1.0, (1, 2)),
        Span(1.2, 2.0, (3,)),
    ]
    assert split_at_times([1, 2], FIRST, 5.0) == [Span(0.0, 5.0, (1, 2))]
    assert split_at_times([FIRST + 25, 1], FIRST, 5.0) == [Span(0.5, 5.0, (1,))]
    assert split_at_times([FIRST, FIRST + 9], FIRST, 5.0) == []


def test_the_last_time_counts_when_nothing_follows():
    assert last_time([], FIRST) is None
    assert last_time([FIRST, 1], FIRST) is None
    assert last_time([FIRST, 1, FIRST + 100], FIRST) == 2.0


def test_blank_spans_are_left_out():
    tokenizer = tiny_en_checkpoint().tokenizer
    first = tokenizer.timestamp_begin
    hello, blank = tokenizer.encode(" Hello"), tokenizer.encode(" ")
    tokens = [first, *blank, first + 10, first + 10, *hello, first + 40]
    assert text_spans(tokenizer, tokens, 1.0) == [Span(0.2, 0.8, tuple(hello))]

"""Which words are spoken: how many, how long in a row, and never two spans side by side."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.tts.interleaved.spans import SpanSettings, cut, draw_spans, seed_of, words_of

quickly = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@quickly
@given(
    words=st.integers(0, 300),
    eta=st.floats(0.01, 1.0),
    length=st.floats(1.0, 40.0),
    key=st.text(max_size=4),
)
def test_spans_cover_the_share_and_do_not_touch(
    words: int, eta: float, length: float, key: str
) -> None:
    spans = draw_spans(words, SpanSettings(eta, length), key)
    assert abs(sum(map(len, spans)) - eta * words) <= 0.5
    assert all(len(span) >= 1 for span in spans)
    ends = [(span.start, span.stop) for span in spans]
    assert all(b[0] - a[1] >= 1 for a, b in itertools.pairwise(ends))
    assert not spans or (spans[0].start >= 0 and spans[-1].stop <= words)


@quickly
@given(text=st.text(alphabet="ab .\n中文あ-’", max_size=80), key=st.integers())
def test_pieces_make_the_text_again(text: str, key: int) -> None:
    text = text.strip()
    words = words_of(text)
    spans = draw_spans(len(words), SpanSettings(0.4, 2.0), str(key))
    pieces = cut(text, spans)
    assert "".join(piece for piece, _ in pieces) == text
    assert all(piece for piece, _ in pieces)
    assert [n for _, n in pieces if n] == [len(span) for span in spans]
    for piece, count in pieces:
        assert not count or len(words_of(piece)) == count
        assert not count or piece == piece.strip()


def test_words_are_between_blanks_or_are_characters() -> None:
    text = "Well, it's 5 o'clock: 你好 world。"
    assert [text[a:b] for a, b in words_of(text)] == [
        "Well,", "it's", "5", "o'clock:", "你", "好", "world。"
    ]  # fmt: skip


def test_lengths_are_those_of_poisson() -> None:
    settings = SpanSettings(0.3, 10.0)
    lengths = [len(span) for key in range(40) for span in draw_spans(3000, settings, str(key))]
    mean = sum(lengths) / len(lengths)
    variance = sum((n - mean) ** 2 for n in lengths) / len(lengths)
    # 3,600 spans: the mean is known to 0.05; the last of each document is cut short.
    assert mean == pytest.approx(10.0, abs=0.25)
    assert variance == pytest.approx(10.0, rel=0.12)


def test_any_place_is_as_likely() -> None:
    """Of 6 words, 2 in spans of 1: each of the 10 pairs that do not touch."""
    seen: dict[tuple[int, ...], int] = {}
    for key in range(1500):
        spans = draw_spans(6, SpanSettings(1 / 3, 1.0), str(key))
        if len(spans) == 2:
            place = tuple(span.start for span in spans)
            seen[place] = seen.get(place, 0) + 1
    assert len(seen) == 10
    expected = sum(seen.values()) / 10
    assert all(abs(count - expected) < 5 * expected**0.5 for count in seen.values())


def test_seed_and_key_alone_decide() -> None:
    one = draw_spans(500, SpanSettings(seed=1), "a")
    assert one == draw_spans(500, SpanSettings(seed=1), "a")
    assert one != draw_spans(500, SpanSettings(seed=2), "a")
    assert one != draw_spans(500, SpanSettings(seed=1), "b")
    assert seed_of(0, "a", 1) == 3_805_457_466_603_685_491  # on any machine
    assert seed_of(0, "a", 1) != seed_of(0, "a", 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eta": 0.0}, "eta is 0, expected more than 0"),
        ({"eta": 1.1}, r"eta is 1\.1"),
        ({"length": 0.5}, r"a span of 0\.5 words, expected 1 to 1000"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpanSettings(**wrong)

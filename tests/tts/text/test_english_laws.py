"""What holds for every string that is read as English."""

import time
import unicodedata

import pytest
from english_cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.tts.text.english.normalizer import normalize
from echoic.tts.text.pieces import MARKS, Mark, Word, spoken_text
from echoic.tts.text.script import Script

SCRAPS = [scrap for text, _ in CASES for scrap in text.split()]
MIXED = st.lists(st.sampled_from(SCRAPS), max_size=12).map(" ".join)
# Nothing is known of these; each must be heard.
PLAIN = st.lists(
    st.sampled_from(["house", "Berlin", "naïve", "Привет", "नमस्ते", "o'clock", "well-known", "I"]),
    min_size=1,
    max_size=12,
)
GLUE = st.text("0123456789.,:;/-–'\"$€%°#@&+= ()[]abMXs", max_size=24)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=60), MIXED, GLUE))
def test_has_no_digits_and_goes_forward_through_the_source(text: str):
    pieces = normalize(Script.plain(text))
    spans = [piece.span for piece in pieces]
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert [s.start for s in spans] == sorted(s.start for s in spans)
    assert [s.end for s in spans] == sorted(s.end for s in spans)
    words = "".join(piece.text for piece in pieces if isinstance(piece, Word))
    kinds = {unicodedata.category(c) for c in words.replace("-", "").replace("'", "")}
    assert {kind for kind in kinds if kind[0] not in "LM" and kind != "Nl"} == set()
    assert {piece.text for piece in pieces if isinstance(piece, Mark)} <= set(MARKS)


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.sampled_from([" ", ", ", "; ", " 😀 ", "... ", "\n", " — "]))
def test_no_word_gets_lost_and_words_read_as_themselves(words: list[str], between: str):
    pieces = normalize(Script.plain(between.join(words)))
    assert [p.text for p in pieces if isinstance(p, Word)] == words
    once = spoken_text(pieces)
    assert spoken_text(normalize(Script.plain(once))) == once


@settings(max_examples=100, deadline=None)
@given(MIXED)
def test_every_letter_and_digit_is_read(text: str):
    heard: set[int] = set()
    for piece in normalize(Script.plain(text)):
        heard.update(range(*piece.span))
    silent = {i for i, c in enumerate(text) if c.isalnum()} - heard
    assert {text[i] for i in silent} == set()


def test_spans_are_of_the_words_as_typed():
    text = "Dr. Lee paid $5.50 on 3/4/2021."
    typed = [text[slice(*p.span)] for p in normalize(Script.plain(text))]
    assert list(dict.fromkeys(typed)) == ["Dr.", "Lee", "paid", "$5.50", "on", "3/4/2021", "."]


@pytest.mark.parametrize(
    "text", ["7" * 10_000, "1," * 5_000, "a" * 10_000, "(" * 10_000, "-1" * 5_000]
)
def test_10_000_odd_characters_take_no_time(text: str):
    begin = time.process_time()
    pieces = normalize(Script.plain(text))
    assert time.process_time() - begin < 5
    assert not any(c.isdecimal() for p in pieces if isinstance(p, Word) for c in p.text)

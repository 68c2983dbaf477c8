"""Text in rows: as the standard library breaks it, and as wide characters need it."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoic.asr.live.layout import cells, common_length, physical_rows, width_of, wrap

ASCII_WORDS = st.lists(st.text("abc-.,'", min_size=1, max_size=14), max_size=30)
ANY_TEXT = st.text(st.sampled_from("ab xyz日本語한é\u0301가ｱ 😀"), max_size=60)


def rows(text: str, columns: int) -> list[str]:
    found = cells(text)
    return ["".join(c.text for c in found[s.start : s.end]) for s in wrap(found, columns)]


@given(ASCII_WORDS, st.integers(14, 40))
def test_words_are_broken_as_textwrap_does(texts: list[str], columns: int):
    text = " ".join(texts)
    wrapper = textwrap.TextWrapper(columns, break_on_hyphens=False)
    assert rows(text, columns) == wrapper.wrap(text)


@given(ANY_TEXT, st.integers(2, 20))
def test_nothing_is_lost_and_nothing_is_too_wide(text: str, columns: int):
    found = cells(text)
    for row in wrap(found, columns):
        assert 0 < width_of(found[row.start : row.end]) <= columns
    kept = "".join(rows(text, columns))
    assert kept.replace(" ", "") == "".join(c.text for c in found).replace(" ", "")


@given(ASCII_WORDS, st.integers(2, 30), st.text("abc ", max_size=20))
def test_rows_but_the_last_stay_whatever_follows(texts: list[str], columns: int, more: str):
    text = " ".join(texts)
    before = rows(text, columns)[:-1]
    assert rows(f"{text} {more}", columns)[: len(before)] == before


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("日本語です", 4, ["日本", "語で", "す"]),
        ("日本語です", 5, ["日本", "語で", "す"]),
        ("ab 日本語", 5, ["ab 日", "本語"]),
        ("ab日本", 4, ["ab日", "本"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a  b   c", 3, ["a", "b", "c"]),
        ("한국어 말", 6, ["한국어", "말"]),
        ("", 5, []),
        ("   ", 5, []),
    ],
)
def test_examples(text: str, columns: int, expected: list[str]):
    assert rows(text, columns) == expected


def test_combining_characters_belong_to_the_one_before():
    found = cells("cafe\u0301 s")
    assert [c.text for c in found] == ["c", "a", "f", "e\u0301", " ", "s"]
    assert width_of(found) == 6


def test_dim_from_a_place_on_and_blanks_never():
    found = cells("ab cd ef", dim_from=3)
    assert "".join(c.text for c in found if c.dim) == "cdef"


def test_common_length_sees_text_and_look():
    assert common_length(cells("abcd"), cells("abxd")) == 2
    assert common_length(cells("abcd"), cells("abcd", dim_from=3)) == 3
    assert common_length(cells("ab"), cells("abcd")) == 2


@pytest.mark.parametrize(
    ("text", "columns", "count"), [("", 5, 1), ("abcde", 5, 1), ("abcdef", 5, 2), ("日本語", 5, 2)]
)
def test_rows_of_a_terminal_that_became_narrow(text: str, columns: int, count: int):
    assert physical_rows(cells(text), columns) == count

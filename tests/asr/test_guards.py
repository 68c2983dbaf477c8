import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoic.asr.guards import (
    MAX_TOKENS_PER_SECOND,
    MIN_TOKEN_BUDGET,
    compression_ratio,
    cut_loop,
    is_looping,
    token_budget,
)

TOKENS = st.lists(st.integers(0, 3), max_size=60)


@given(start=TOKENS, period=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_short_phrase_that_repeats_is_a_loop(start: list[int], period: int, seed: int):
    phrase = random.Random(seed).choices(range(100), k=period)
    repeated = (phrase * 40)[: 36 + seed % 5]
    assert is_looping([*start, *repeated])
    assert not is_looping([*start, *repeated, 777])
    assert not is_looping(repeated[:35])


def test_ordinary_text_is_no_loop():
    assert not is_looping(list(range(400)))
    assert not is_looping([1, 2, 3] * 11)  # 33 tokens are a refrain
    assert not is_looping(list(range(13)) * 5)  # thirteen tokens are a sentence
    assert not is_looping([])


@given(TOKENS)
def test_cutting_leaves_no_loop_and_takes_from_the_end_only(tokens: list[int]):
    cut = cut_loop(tokens)
    assert list(cut) == tokens[: len(cut)]
    lost = tokens[len(cut) :]
    for i, token in enumerate(lost):  # what is lost repeats what is kept
        assert token in cut[-12:], i
    if tokens:
        assert cut


@given(start=st.lists(st.integers(200, 900), max_size=9), period=st.integers(1, 12))
def test_a_phrase_is_said_once(start: list[int], period: int):
    phrase = list(range(period))
    assert list(cut_loop([*start, *phrase * 3])) == [*start, *phrase]
    assert list(cut_loop([*start, *phrase * 9])) == [*start, *phrase]
    assert list(cut_loop([*start, *phrase * 2])) == [*start, *phrase * 2]


@given(start=TOKENS, period=st.integers(1, 12), copies=st.integers(4, 9))
def test_what_the_guard_finds_the_cut_mends(start: list[int], period: int, copies: int):
    tokens = [*start, *list(range(50, 50 + period)) * (36 // period + copies)]
    assert is_looping(tokens)
    assert not is_looping(cut_loop(tokens))


@pytest.mark.timeout(5)
def test_nothing_to_cut_from_nothing():
    assert cut_loop(()) == ()
    assert cut_loop([7]) == (7,)


def test_budgets_grow_with_the_sound_up_to_the_model():
    assert token_budget(0.0, 224) == MIN_TOKEN_BUDGET
    assert token_budget(2.0, 224) == MIN_TOKEN_BUDGET + 2 * MAX_TOKENS_PER_SECOND
    assert token_budget(30.0, 224) == 224
    assert token_budget(1.0, 5) == 5


def test_compression_ratio_tells_repetition():
    assert compression_ratio("") == 0.0
    assert compression_ratio("he might even have been made amiable himself") < 1.2
    assert compression_ratio("so he said. " * 20) > 8
    assert compression_ratio("да. " * 40) > 10

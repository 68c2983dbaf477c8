import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoic.asr.latency.lagging import lagging


# The values are those of SimulEval 1.1.4's scorers; on 3,000 random cases they agree to 1.5e-14.
@pytest.mark.parametrize(
    ("delays", "duration", "words", "expected"),
    [
        ([1, 1, 2, 3], 3, 4, (0.625, 0.625, 1.0, 7 / 12)),
        ([1, 2, 2, 4, 4, 4], 4, 5, (1.05, 1.25, 29 / 18, 0.85)),
        ([5.0, 6.0], 4, 3, (5.0, 5.0, 5.0, 11 / 12)),
        ([0.64, 0.64, 1.28, 2.5], 2.5, 3, (0.015, 0.3275, 0.64, 5.06 / 7.5)),
    ],
)
def test_as_simuleval(
    delays: list[float], duration: float, words: int, expected: tuple[float, ...]
):
    found = lagging(delays, duration, words)
    assert found is not None
    assert (found.al, found.laal, found.dal, found.ap) == pytest.approx(expected)


@given(st.integers(1, 40), st.floats(0.5, 30))
def test_an_ideal_output_does_not_lag(words: int, duration: float):
    pace = duration / words
    ideal = lagging([i * pace for i in range(words)], duration, words)
    assert ideal is not None
    assert ideal.al == pytest.approx(0, abs=1e-9)
    assert ideal.dal == pytest.approx(0, abs=1e-9)
    late = lagging([(i + 1) * pace for i in range(words)], duration, words)
    assert late is not None
    assert late.al == pytest.approx(pace)
    assert late.dal == pytest.approx(pace)


@given(st.integers(1, 40), st.floats(0.5, 30))
def test_an_output_that_waits_for_the_end_lags_by_all_of_it(words: int, duration: float):
    found = lagging([duration] * words, duration, words)
    assert found is not None
    assert (found.al, found.laal) == (duration, duration)
    assert (found.dal, found.ap) == pytest.approx((duration, 1))


delay_lists = st.lists(st.floats(0, 20), min_size=1, max_size=30).map(sorted)


@given(delay_lists, st.integers(1, 40))
def test_order_of_the_measures(delays: list[float], words: int):
    found = lagging(delays, 20.0, words)
    assert found is not None
    assert found.laal >= found.al - 1e-9
    same = lagging(delays, 20.0, len(delays))
    assert same is not None
    # Cut where AL is cut, DAL's virtual delays are never earlier than the real ones.
    if delays[-1] < 20:
        assert same.dal >= same.al - 1e-9


@given(delay_lists, st.floats(0, 5))
def test_later_words_lag_more(delays: list[float], extra: float):
    # All below the duration, so that each word counts in both.
    before = lagging(delays, 100.0, len(delays))
    after = lagging([d + extra for d in delays], 100.0, len(delays))
    assert before is not None
    assert after is not None
    assert after.al - before.al == pytest.approx(extra, abs=1e-9)
    assert after.dal - before.dal == pytest.approx(extra, abs=1e-9)


def test_nothing_to_measure():
    assert lagging([], 3.0, 4) is None
    assert lagging([1.0], 0.0, 4) is None
    assert lagging([1.0], 3.0, 0) is None
    with pytest.raises(ValueError, match="delays fall"):
        lagging([2.0, 1.0], 3.0, 2)

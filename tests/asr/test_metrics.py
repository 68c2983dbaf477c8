import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.asr.metrics import (
    Counts,
    ErrorRate,
    character_error_rate,
    fewer_errors,
    word_error_rate,
)

pytest.importorskip("jiwer")


def edits(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's distance, the plain way."""
    row = list(range(len(hypothesis) + 1))
    for i, r in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, h in enumerate(hypothesis, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (r != h))
    return row[-1]


words = st.lists(st.sampled_from(["a", "b", "c", "dog"]), max_size=8).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(words, words), max_size=6))
def test_counts_are_the_least_edits(pairs: list[tuple[str, str]]):
    rate = word_error_rate([r for r, _ in pairs], [h for _, h in pairs])
    spoken = [(r.split(), h.split()) for r, h in pairs if r]
    assert [u.errors for u in rate.utterances] == [edits(r, h) for r, h in spoken]
    assert rate.num_words == sum(len(r) for r, _ in spoken)
    assert rate.num_words == rate.substitutions + rate.deletions + sum(
        u.length - u.substitutions - u.deletions for u in rate.utterances
    )
    assert rate.num_words - rate.deletions + rate.insertions == sum(len(h) for _, h in spoken)
    assert rate.num_empty == len(pairs) - len(spoken)
    assert rate.words_on_empty == sum(len(h.split()) for r, h in pairs if not r)


def test_a_corpus_is_one_sum():
    rate = word_error_rate(["a b c d", "x"], ["a B d", "x y z"])
    assert (rate.substitutions, rate.deletions, rate.insertions) == (1, 1, 2)
    assert (rate.errors, rate.num_words, rate.rate) == (4, 5, 0.8)


def test_empty_references_are_counted_apart():
    rate = word_error_rate(["", "a b", "  "], ["made up words", "a", ""])
    assert (rate.rate, rate.num_empty, rate.words_on_empty) == (0.5, 2, 3)
    nothing = word_error_rate([""], [""])
    assert math.isnan(nothing.rate)
    assert all(math.isnan(bound) for bound in nothing.interval())
    assert character_error_rate(["."], ["ab"], lambda s: s.strip(".")).words_on_empty == 2


def test_characters():
    rate = character_error_rate(["abcd", "北京"], ["abxd", "北 京"])
    assert (rate.substitutions, rate.insertions, rate.num_words) == (1, 1, 6)


def test_normaliser_is_applied_to_both_sides():
    assert word_error_rate(["Mr. X"], ["MR X."], lambda s: s.lower().replace(".", "")).errors == 0
    assert word_error_rate(["a  b"], [" a b "]).errors == 0
    with pytest.raises(ValueError, match="1 references and 2 hypotheses"):
        word_error_rate(["a"], ["a", "b"])


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    truth, covered = 0.2, 0
    for trial in range(60):
        wrong = generator.random((80, 10)) < truth
        references = ["w " * 10] * 80
        hypotheses = [" ".join("x" if bad else "w" for bad in row) for row in wrong]
        rate = word_error_rate(references, hypotheses)
        low, high = rate.interval(0.9, samples=200, seed=trial)
        assert low <= rate.rate <= high
        covered += low <= truth <= high
    assert 45 <= covered <= 60  # 54 are expected


def test_interval_is_seeded_and_narrows():
    references = ["a", "a b c", "a b c d e", "f g h i j k l", "m n o p q r s t u v w"]
    hypotheses = ["x", "a b", "a b c d e", "f x h i j y l", "m n o p q r s t u v x"]
    few = word_error_rate(references * 2, hypotheses * 2)
    many = word_error_rate(references * 200, hypotheses * 200)
    assert few.interval(seed=3) == few.interval(seed=3) != few.interval(seed=4)
    assert many.interval().high - many.interval().low < few.interval().high - few.interval().low
    with pytest.raises(ValueError, match=r"level 1.5 must lie in \(0, 1\)"):
        few.interval(1.5)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ImportError, match=r"pip install 'echoic\[metrics\]'"):
        word_error_rate(["a"], ["a"])


def test_nothing_at_all():
    assert word_error_rate([], []) == ErrorRate(())


def test_pairs_tell_more_than_two_intervals() -> None:
    def rate(errors: list[int]) -> ErrorRate:
        return ErrorRate(tuple(Counts(n, 0, 0, 10) for n in errors))

    # Utterances differ much, and each is heard a little better.
    hard = [n % 9 for n in range(60)]
    before, after = rate([n + 1 for n in hard]), rate(hard)
    low, high = fewer_errors(before, after)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)
    assert before.interval().low < after.interval().high  # apart they would say nothing
    low, high = fewer_errors(before, rate([max(0, n + n % 3 - 1) for n in hard]))
    assert low < before.rate - rate([max(0, n + n % 3 - 1) for n in hard]).rate < high
    with pytest.raises(ValueError, match="different utterances"):
        fewer_errors(before, rate(hard[:-1]))
    with pytest.raises(ValueError, match="level 2"):
        fewer_errors(before, after, level=2)
    assert math.isnan(fewer_errors(rate([]), rate([])).low)

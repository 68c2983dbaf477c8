"""Classes of duration and length of text."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from lengths import of_all_kinds, read_aloud

from echoic.audio.data.buckets import Buckets

SMALL = Buckets(((2.0, 5), (2.0, 9), (4.0, 6), (4.0, 14), (7.5, 20)), (16, 12, 8, 7, 3))


@pytest.mark.parametrize(
    ("seconds", "tokens", "strict", "lenient"),
    [
        (1.0, 3, 0, 0),
        (2.0, 5, 0, 0),
        (2.0, 6, 1, 1),
        (2.1, 5, 2, 2),
        (1.0, 10, None, 3),
        (1.0, 15, None, 4),
        (4.0, 21, None, None),
        (7.5, 20, 4, 4),
        (7.6, 1, None, None),
    ],
)
def test_the_smallest_bucket_that_holds_both(
    seconds: float, tokens: int, strict: int | None, lenient: int | None
) -> None:
    assert SMALL.assign(seconds, tokens) == strict
    assert SMALL.assign(seconds, tokens, strict=False) == lenient


@pytest.mark.parametrize("strict", [True, False])
def test_many_at_once_are_assigned_as_one_by_one(strict: bool) -> None:
    rng = np.random.default_rng(0)
    seconds = rng.choice([0.5, 2.0, 2.01, 3.9, 4.0, 7.0, 7.5, 8.0], 400)
    tokens = rng.integers(0, 25, 400)
    found = SMALL.assign_all(seconds, tokens, strict)
    one_by_one = [SMALL.assign(s, t, strict) for s, t in zip(seconds, tokens.tolist(), strict=True)]
    assert found.tolist() == [-1 if index is None else index for index in one_by_one]
    assert len(SMALL.assign_all([], [], strict)) == 0


def test_equal_masses() -> None:
    seconds, _ = read_aloud()
    tokens = np.random.default_rng(0).lognormal(6.0, 0.4, len(seconds)).astype(int)
    buckets = Buckets.estimate(seconds, tokens, 20, 4, rule="mass")
    found = buckets.assign_all(seconds, tokens)
    assert len(buckets) == 80
    sound = np.bincount(found[found >= 0], seconds[found >= 0]).reshape(20, 4)
    assert sound.sum(1) == pytest.approx(seconds.sum() / 20, rel=0.01)
    texts = np.bincount(found[found >= 0], tokens[found >= 0]).reshape(20, 4)
    assert texts == pytest.approx(texts.mean(1, keepdims=True).repeat(4, 1), rel=0.05)


@pytest.mark.parametrize("rule", ["mass", "padding"])
def test_a_spike_is_one_duration_with_more_texts(rule) -> None:
    seconds, tokens = read_aloud(2000)
    windows = np.full(int(seconds.sum() / 30), 30.0)  # half of the sound
    rng = np.random.default_rng(1)
    seconds = np.concatenate([seconds, windows])
    tokens = np.concatenate([tokens, rng.integers(40, 200, len(windows))])
    buckets = Buckets.estimate(seconds, tokens, 10, 3, rule=rule)
    per_duration = [len(list(g)) for _, g in itertools.groupby(buckets.edges, lambda e: e[0])]
    assert len(buckets) == 30
    assert buckets.edges[-1][0] == 30.0
    assert per_duration[-1] == 15
    assert set(per_duration[:-1]) == {3}


def test_texts_that_are_too_long_for_their_sound_widen_no_bucket() -> None:
    seconds, tokens = read_aloud(3000)
    tokens[7] = 2000
    buckets = Buckets.estimate(seconds, tokens, 10, 3)
    assert max(most for _, most in buckets.edges) < 200
    assert buckets.assign(float(seconds[7]), 2000) is None
    wide = Buckets.estimate(seconds, tokens, 10, 3, max_sigma=1000.0)
    assert wide.assign(float(seconds[7]), 2000) is not None


def test_edges_with_the_least_padding() -> None:
    """All sets of edges tried."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        tokens = rng.integers(1, 13, 60)
        buckets = Buckets.estimate(np.ones(60), tokens, 1, 4, max_sigma=100.0)
        values = np.unique(tokens).tolist()
        cost = {
            chosen: padded(tokens, (*chosen, values[-1]))
            for chosen in itertools.combinations(values[:-1], 3)
        }
        assert len(buckets) == 4
        assert padded(tokens, [most for _, most in buckets.edges]) == min(cost.values())


def padded(tokens: np.ndarray, edges) -> int:
    return int(np.asarray(edges)[np.searchsorted(edges, tokens)].sum())


def test_durations_need_less_padding_than_by_equal_masses() -> None:
    seconds, tokens = of_all_kinds()
    cost = {}
    for rule in ("mass", "padding"):
        buckets = Buckets.estimate(seconds, tokens, 30, 1, rule=rule)
        edges = np.array([edge for edge, _ in buckets.edges])
        assert edges[-1] == seconds.max()
        cost[rule] = 1 - seconds.sum() / edges[np.searchsorted(edges, seconds)].sum()
    assert cost["padding"] < 0.95 * cost["mass"]


@pytest.mark.parametrize("tokens", [[0, 0, 0], [3, 3, 3]])
def test_few_and_equal_texts(tokens: list[int]) -> None:
    assert Buckets.estimate([1.0, 2.0, 2.0], tokens, 5, 5).edges == (
        (1.0, tokens[0]),
        (2.0, tokens[0]),
    )


def test_sizes_by_seconds() -> None:
    assert SMALL.sized(16.0).batch_sizes == (8, 8, 4, 4, 2)
    assert SMALL.sized(16.0, 5).batch_sizes == (5, 5, 4, 4, 2)
    assert SMALL.sized(1.0).batch_sizes == (1, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="batches of 0 s"):
        SMALL.sized(0)


def test_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "buckets.json"
    for buckets in (SMALL, Buckets(((0.1 + 0.2, 7),))):
        buckets.save(path)
        assert Buckets.load(path) == buckets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "has no buckets"),
        ("[]", "has no buckets"),
        ("{}", r"has no buckets \('edges'\)"),
        ('{"edges": [[1, 2]], "sizes": [1]}', "unknown sizes"),
        ('{"edges": [[1]]}', "has no buckets"),
        ('{"edges": [[2, 2], [1, 2]]}', "are not in order"),
        ('{"edges": [[2, 2], [2, 2]]}', "are not in order"),
        ('{"edges": [[0, 2]]}', "are not in order"),
        ('{"edges": []}', "are not in order"),
        ('{"edges": [[1, 2]], "batch_sizes": [1, 2]}', "2 batch sizes for 1 buckets"),
        ('{"edges": [[1, 2]], "batch_sizes": [0]}', "a batch size is 0"),
    ],
)
def test_files_without_buckets(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "buckets.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"buckets\.json.*{message}"):
        Buckets.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"durations": []}, r"shape \(0,\)"),
        ({"tokens": [1]}, r"tokens of \(1,\)"),
        ({"durations": [0.0, 1.0]}, "durations above 0"),
        ({"num_sub": 0}, "2 x 0 buckets"),
        ({"rule": "best"}, "rule is 'best', expected one of padding, mass"),
    ],
)
def test_what_no_buckets_can_be_found_for(changes: dict, message: str) -> None:
    given = {"durations": [1.0, 2.0], "tokens": [1, 2], "num_buckets": 2}
    with pytest.raises(ValueError, match=message):
        Buckets.estimate(**(given | changes))

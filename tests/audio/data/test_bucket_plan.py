"""Which utterances meet in which batch out of buckets, in one process and in several."""

import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lengths import Lengths, of_all_kinds
from torch.utils.data import DataLoader

from echoic.audio.data.bucket_plan import BucketConfig, BucketPlan
from echoic.audio.data.buckets import Buckets
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.data.passes import Item

LENGTHS = of_all_kinds(1500, seed=2)
BUCKETS = Buckets.estimate(*LENGTHS, 8, 3, max_sigma=100.0).sized(100.0)


def plan(processes: int = 1, lengths: Lengths = LENGTHS, **changes) -> BucketPlan:
    values = {"buckets": BUCKETS, "seed": 3} | changes
    return BucketPlan([lengths[0]], [lengths[1]], [1.0], processes=processes, **values)


def numbers(batch: list[Item]) -> list[int]:
    return [item.utterance for item in batch]


def holds(batch: list[Item], buckets: Buckets = BUCKETS, lengths: Lengths = LENGTHS) -> int:
    """The most utterances of these lengths that a batch may have."""
    seconds, tokens = (own[numbers(batch)].max() for own in lengths)
    bucket = buckets.assign(float(seconds), int(tokens), strict=False)
    assert bucket is not None
    return buckets.batch_sizes[bucket]


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_a_pass_has_every_utterance_once_and_keeps_to_the_sizes(processes: int) -> None:
    batches_of = plan(processes)
    orders = set()
    for number in range(3):
        batches = batches_of.batches(number)
        assert sorted(i for batch in batches for i in numbers(batch)) == list(range(1500))
        assert len(batches) % processes == 0
        assert all(len(batch) <= holds(batch) for batch in batches)
        assert len(batches) == batches_of.length(number)
        orders.add(str(batches))
    assert len(orders) == 3


@pytest.mark.parametrize("processes", [2, 5])
def test_all_ranks_do_the_same_amount_at_once(processes: int) -> None:
    batches = plan(processes).batches(0)
    uneven = 0
    for first in range(0, len(batches), processes):
        step = batches[first : first + processes]
        sizes = [len(batch) for batch in step]
        together = holds([item for batch in step for item in batch])
        uneven += max(sizes) - min(sizes) > 1 or max(sizes) > together
    assert uneven <= 1, "only the last utterances of a pass may meet unlike ones"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 9),
    st.lists(st.integers(2, 7), min_size=4, max_size=4),
    st.integers(0, 5),
)
def test_every_utterance_once_whatever_the_numbers(
    count: int, processes: int, sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(0.1, 4.0, count), rng.integers(1, 10, count)
    edges = ((2.0, 5), (2.0, 9), (4.0, 4), (4.0, 9))
    buckets = Buckets(edges, tuple(sorted(sizes, reverse=True)))
    batches_of = plan(processes, lengths, buckets=buckets, seed=seed)
    batches = batches_of.batches(1)
    assert len(batches) == batches_of.length(0)
    assert len(batches) % processes == 0
    assert all(0 < len(batch) <= holds(batch, buckets, lengths) for batch in batches)
    met = Counter(i for batch in batches for i in numbers(batch))
    assert set(met) == set(range(count))
    # A few utterances cannot be shared by many processes, unless some are met twice.
    enough = count >= 2 * processes
    assert max(met.values()) == 1 or not enough


def test_sharing_where_batches_cannot_be_smaller() -> None:
    alone = Buckets(((30.0, 1000),), (1,))
    batches = plan(2, (np.ones(5), np.ones(5, np.int64)), buckets=alone).batches(0)
    assert [len(batch) for batch in batches] == 6 * [1]
    assert sorted(Counter(i for batch in batches for i in numbers(batch)).values()) == [
        1,
        1,
        1,
        1,
        2,
    ]


def test_the_number_alone_decides() -> None:
    row = [plan()(number) for number in range(2)]
    whole = plan()
    assert [whole(number) for number in range(2)] == row
    later = whole.length(0) + 3
    assert plan()(later) == whole.batches(1)[3]
    assert plan(seed=4)(0) != row[0]


def label(number: int) -> tuple[int, list[Item]]:
    return number, SHARED(number)


SHARED = plan(processes=2)


def test_a_run_that_goes_on_meets_what_it_would_have_met() -> None:
    def run(start: int, stop: int, rank: int, workers: int = 0) -> list[tuple[int, list[Item]]]:
        steps = NumberedBatches(label, start, 2, rank, stop)
        return list(DataLoader(steps, batch_size=None, num_workers=workers, collate_fn=None))

    steps = SHARED.length(0) // 2
    whole = [run(0, steps + 4, rank) for rank in range(2)]
    for rank in range(2):
        assert run(0, 7, rank) + run(7, steps + 4, rank) == whole[rank]
    assert run(steps - 3, steps + 4, 1, workers=2) == whole[1][steps - 3 :]
    met = [Counter(i for _, batch in rows[:steps] for i in numbers(batch)) for rows in whole]
    assert not met[0] & met[1]
    assert met[0] + met[1] == Counter(range(1500))


def test_jitter_mixes_who_meets_whom() -> None:
    def pairs(jitter: float) -> list[set[tuple[int, int]]]:
        batches_of = plan(jitter=jitter)
        return [
            {(a, b) for batch in batches_of.batches(n) for a in numbers(batch)[::4]
             for b in numbers(batch) if a != b}
            for n in range(2)
        ]  # fmt: skip

    shares = []
    for jitter in (0.0, 0.05, 2.0):
        first, second = pairs(jitter)
        shares.append(len(first & second) / len(first))
    assert shares[0] > shares[1] > shares[2]
    assert shares[1] < 0.35


def test_shares_are_shares_of_the_sound() -> None:
    seconds, tokens = LENGTHS
    parts = [slice(0, 1200), slice(1200, 1500)]
    batches_of = BucketPlan(
        [seconds[p] for p in parts], [tokens[p] for p in parts], [0.5, 0.5], BUCKETS, 2
    )
    heard, met = [0.0, 0.0], Counter[Item]()
    for number in range(6):
        assert batches_of.length(number) == len(batches_of.cut(number))
        for item in (item for batch in batches_of.batches(number) for item in batch):
            heard[item.corpus] += seconds[parts[item.corpus]][item.utterance]
            met[item] += 1
    assert heard[1] / sum(heard) == pytest.approx(0.5, abs=0.05)
    assert max(met.values()) - min(n for item, n in met.items() if item.corpus == 1) <= 6
    few = [n for item, n in met.items() if item.corpus == 0]
    assert max(few) - min(few) <= 1


def test_what_has_no_bucket_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    seconds = np.array([1.0, 1.0, 1.0, 9.0, 3.0])
    tokens = np.array([4, 5, 90, 5, 7])
    buckets = Buckets(((2.0, 5), (4.0, 8)), (4, 2))
    with caplog.at_level(logging.WARNING):
        strict = plan(1, (seconds, tokens), buckets=buckets)
    assert strict.left_out == 2
    assert "2 of 5 utterances have no bucket and are left out: 1 last longer than 4 s, 1" in (
        caplog.text
    )
    assert sorted(i for batch in strict.batches(0) for i in numbers(batch)) == [0, 1, 4]
    tokens[2] = 8
    assert plan(1, (seconds, tokens), buckets=buckets).left_out == 2
    assert plan(1, (seconds, tokens), buckets=buckets, strict=False).left_out == 1
    with pytest.raises(ValueError, match="hold none of the 1 utterances of corpus 1"):
        BucketPlan([[1.0], [9.0]], [[4], [4]], [1.0, 1.0], buckets)
    with pytest.raises(ValueError, match="have no batch sizes"):
        plan(buckets=Buckets(((2.0, 5),)))


def test_buckets_by_configuration(tmp_path) -> None:
    found = BucketConfig(4, 2).find(*LENGTHS, 60.0, 12)
    assert len(found) == 8
    assert found.batch_sizes == found.sized(60.0, 12).batch_sizes
    path = tmp_path / "buckets.json"
    BUCKETS.save(path)
    assert BucketConfig(saved=str(path)).find(*LENGTHS, 60.0, 12) == BUCKETS
    edges = Buckets(BUCKETS.edges)
    assert BucketConfig(saved=edges).find(*LENGTHS, 60.0, 12) == edges.sized(60.0, 12)
    with pytest.raises(ValueError, match="buckets 0 x 5"):
        BucketConfig(duration=0)

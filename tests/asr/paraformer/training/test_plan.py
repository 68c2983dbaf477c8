"""Which utterances meet in which batch."""

import random
from collections import Counter

import pytest

from echoic.asr.paraformer.training.plan import BatchConfig, Item, Passes, cut, in_order

CONFIG = BatchConfig(seconds=20.0, utterances=6)


def durations(count: int, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [rng.uniform(1.0, 8.0) for _ in range(count)]


def padded(batch: list[Item], seconds: list[list[float]]) -> float:
    return len(batch) * max(seconds[item.corpus][item.utterance] for item in batch)


def test_a_pass_has_every_utterance_once_and_keeps_to_the_size() -> None:
    seconds = [durations(50)]
    plan = Passes(seconds, [1.0], CONFIG)
    for number in range(3):
        batches = plan.batches(number)
        assert sorted(item.utterance for batch in batches for item in batch) == list(range(50))
        assert max(len(batch) for batch in batches) <= 6
        assert max(padded(batch, seconds) for batch in batches) <= 20.0
        sound = sum(seconds[0])
        assert sum(padded(batch, seconds) for batch in batches) < 1.35 * sound
    orders = {tuple(map(tuple, plan.batches(number))) for number in range(3)}
    assert len(orders) == 3


def test_the_number_alone_decides() -> None:
    seconds = [durations(20), durations(9, seed=1)]
    plan = Passes(seconds, [1.0, 2.0], CONFIG, seed=5)
    row = [plan(number) for number in range(60)]
    assert [Passes(seconds, [1.0, 2.0], CONFIG, seed=5)(n) for n in (59, 0, 31)] == [
        row[59], row[0], row[31],
    ]  # fmt: skip
    assert [plan(number) for number in reversed(range(60))] == row[::-1]
    assert [Passes(seconds, [1.0, 2.0], CONFIG, seed=6)(n) for n in range(60)] != row


def test_shares_are_shares_of_the_sound() -> None:
    seconds = [durations(200), durations(40, seed=1)]
    plan = Passes(seconds, [0.25, 0.75], CONFIG)
    heard = [0.0, 0.0]
    met: Counter[Item] = Counter()
    for number in range(30):
        for item in (item for batch in plan.batches(number) for item in batch):
            heard[item.corpus] += seconds[item.corpus][item.utterance]
            met[item] += 1
    assert heard[1] / sum(heard) == pytest.approx(0.75, abs=0.03)
    assert {met[Item(1, i)] for i in range(40)} == {30}
    few = [met[Item(0, i)] for i in range(200)]
    assert max(few) - min(few) <= 1, "one that was heard waits until all the others were"


def test_validation_has_every_utterance_once() -> None:
    seconds = [durations(7), durations(5, seed=1)]
    items = [item for batch in in_order(seconds, CONFIG) for item in batch]
    assert sorted(items) == [Item(0, i) for i in range(7)] + [Item(1, i) for i in range(5)]


def test_an_utterance_that_is_too_long_is_one_alone() -> None:
    items = [Item(0, i) for i in range(3)]
    assert cut(items, [1.0, 50.0, 1.0], CONFIG) == [[items[0]], [items[1]], [items[2]]]
    assert cut([], [], CONFIG) == []


def test_sizes_that_are_none() -> None:
    with pytest.raises(ValueError, match="seconds 0, utterances 64"):
        BatchConfig(seconds=0)

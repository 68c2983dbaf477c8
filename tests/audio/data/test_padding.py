"""Shares of padding, as published for the ways to make batches and better."""

import numpy as np
import pytest
from lengths import Lengths, of_all_kinds, read_aloud

from echoic.audio.data.padding import by_chance, compare, histogram, padding_of
from echoic.audio.data.passes import Cut


# What was published for such corpora; batches out of duration buckets pad texts by the last.
@pytest.mark.parametrize(
    ("lengths", "window", "random", "durations"),
    [
        (read_aloud(), 0.61, (0.30, 0.39), 0.258),
        (of_all_kinds(), 0.75, (0.70, 0.71), 0.39),
    ],
    ids=["read aloud", "of all kinds"],
)  # fmt: skip
def test_what_buckets_save(
    lengths: Lengths, window: float, random: tuple[float, float], durations: float
) -> None:
    padded, chance, one, two = compare(*lengths)
    assert padded.encoder == pytest.approx(window, abs=0.02)
    assert (chance.encoder, chance.decoder) == pytest.approx(random, abs=0.04)
    assert one.decoder == pytest.approx(durations, abs=0.05)
    assert max(one.encoder, two.encoder) <= 0.05
    assert two.decoder is not None
    assert two.decoder <= 0.10
    assert two.steps == pytest.approx(one.steps, rel=0.01)
    # Batches are full: no fewer could hold the sound with its padding.
    least = lengths[0].sum() / (1 - two.encoder) / 360.0
    assert two.steps == pytest.approx(least, rel=0.06)
    assert two.left_out <= 5


def test_by_hand() -> None:
    cut = Cut(np.array([3, 0, 1, 2]), np.array([2, 0]), np.array([2, 2]))
    # (1, 2) and (3, 0): padded 2 * 4 and 2 * 10.
    assert padding_of(cut, [10, 4, 2, 8]) == pytest.approx(1 - 24 / 28)
    assert padding_of(cut, [0, 0, 0, 0]) == 0.0
    assert sorted(by_chance(5, 2).rows) == [0, 1, 2, 3, 4]
    assert by_chance(5, 2).sizes.tolist() == [2, 2, 1]


def test_without_texts() -> None:
    ways = compare(read_aloud(500)[0], None)
    assert [way.decoder for way in ways] == [None, None, None]
    assert ways[2].encoder < ways[1].encoder < ways[0].encoder


def test_longer_than_a_window() -> None:
    assert compare([30.0, 45.0], None)[0].encoder == pytest.approx(1 - 75 / 90)


def test_durations_are_counted() -> None:
    bins = histogram([0.0, 0.9, 1.0, 7.2])
    assert [(b.low, b.utterances) for b in bins] == [
        (0.0, 1), (0.5, 1), (1.0, 1), *((0.5 * i, 0) for i in range(3, 14)), (7.0, 1),
    ]  # fmt: skip
    assert sum(b.hours for b in bins) == pytest.approx(9.1 / 3600)
    assert len(histogram(np.arange(1, 3000))) <= 16
    with pytest.raises(ValueError, match="no utterances"):
        histogram([])

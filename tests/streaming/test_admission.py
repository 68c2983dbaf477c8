"""How many streams fit, by what they have cost."""

import random

import pytest

from echoic.streaming.admission import Admission, AdmissionConfig, Costs


def seen(a: float, b: float, sizes: list[int], noise: float = 0.0) -> Costs:
    rng, costs = random.Random(0), Costs()
    for size in sizes:
        speech = 0.32 * size
        costs.add(speech, (a + b * speech) * (1 + noise * rng.uniform(-1, 1)))
    return costs


def test_the_price_of_a_round_and_of_a_second_are_told_apart() -> None:
    rng = random.Random(1)
    sizes = [rng.randint(1, 8) for _ in range(200)]
    assert seen(0.02, 0.03, sizes).line() == pytest.approx((0.02, 0.03))
    assert seen(0.02, 0.03, sizes, noise=0.2).line() == pytest.approx((0.02, 0.03), rel=0.15)


def test_rounds_that_are_all_alike_tell_the_mean_price() -> None:
    a, b = seen(0.02, 0.03, [2] * 50).line()
    assert a == 0.0
    assert b == pytest.approx((0.02 + 0.03 * 0.64) / 0.64)


def test_rounds_without_speech_tell_nothing() -> None:
    costs = Costs()
    costs.add(0.0, 1.0)
    assert costs.rounds == 0
    assert costs.line() == (0.0, 0.0)


def test_what_was_dear_long_ago_is_forgotten() -> None:
    costs = seen(0.2, 0.3, [1, 2, 3] * 30)
    for size in [1, 2, 3] * 400:
        costs.add(0.32 * size, 0.01 + 0.02 * 0.32 * size)
    assert costs.line() == pytest.approx((0.01, 0.02), rel=0.05)


def test_room_is_what_the_machine_can_do_in_full_rounds() -> None:
    admission = Admission(AdmissionConfig(most_load=0.8, trial_streams=3))
    assert admission.room() == 3  # on trial
    rng = random.Random(2)
    for _ in range(100):
        speech = 0.32 * rng.randint(1, 3)
        admission.costs.add(speech, 0.016 + 0.025 * speech)
    # A full round of 0.32 s has 0.256 s for work, 0.016 of them its own, 0.008 for each stream.
    assert admission.room() == 30
    admission.largest_state = 1 << 30
    assert admission.room() == 4  # memory
    admission.largest_state = 0
    for _ in range(2000):
        admission.costs.add(0.32, 5.0)
    assert admission.room() == 1  # whoever is alone may try

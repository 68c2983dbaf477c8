"""When a token is said, and when it may be mended no more."""

from bisect import bisect_left

import pytest

from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.training.schedule import Schedule, Timing, schedule

# Blocks of 0.4 s: they end at 0.4, 0.8, 1.2, 1.6 and 2.0 s.
ENDS = [20, 40, 60, 80, 100]


@pytest.mark.parametrize(
    ("ends", "timing", "said", "frozen"),
    [
        # Heard to its end, and as much longer as the delay says.
        ([0.30], Timing(0.0, 0.0), (0,), (0,)),
        ([0.40], Timing(0.0, 0.0), (0,), (0,)),
        ([0.41], Timing(0.0, 0.0), (1,), (1,)),
        ([0.30], Timing(0.1, 0.0), (0,), (0,)),
        ([0.31], Timing(0.1, 0.0), (1,), (1,)),
        # Frozen at the first block that ends so long after that in which it was said.
        ([0.30], Timing(0.1, 0.4), (0,), (1,)),
        ([0.30], Timing(0.1, 0.41), (0,), (2,)),
        ([0.30], Timing(0.1, 0.6), (0,), (2,)),
        # At the latest when the window ends.
        ([1.50], Timing(0.1, 0.6), (3,), (4,)),
        ([1.90], Timing(0.1, 9.0), (4,), (4,)),
        # What is not heard to its end in the window is not said in it, nor what follows.
        ([1.50, 1.95], Timing(0.1, 0.0), (3,), (3,)),
        ([2.5, 2.6], Timing(0.0, 0.0), (), ()),
        ([], Timing(), (), ()),
        # Tokens of one time are said together.
        ([0.3, 0.3, 0.7], Timing(0.0, 0.5), (0, 0, 1), (2, 2, 3)),
    ],
)
def test_tokens_by_hand(
    ends: list[float], timing: Timing, said: tuple[int, ...], frozen: tuple[int, ...]
) -> None:
    found = schedule(ends, ENDS, timing)
    assert (found.said, found.frozen) == (said, frozen)
    assert found.block_ends == tuple(ENDS)


def test_a_large_first_block_delays_what_it_holds() -> None:
    ends = Blocks(10, first=30).ends(70)
    assert ends == [30, 40, 50, 60, 70]
    found = schedule([0.1, 0.55, 0.65, 1.0], ends, Timing(0.1, 0.3))
    assert found.said == (0, 1, 1, 3)
    assert found.frozen == (2, 3, 3, 4)


@pytest.mark.parametrize("size", [5, 16, 50])
@pytest.mark.parametrize("hold", [0.0, 0.6, 0.9])
def test_never_said_too_early_and_never_back(size: int, hold: float) -> None:
    times = [0.13 * i**1.1 for i in range(90)]
    timing = Timing(0.1, hold)
    ends = Blocks(size, first=30).ends(600)
    found = schedule(times, ends, timing)
    assert list(found.said) == sorted(found.said)
    assert list(found.frozen) == sorted(found.frozen)
    for time, said, frozen in zip(times, found.said, found.frozen, strict=False):
        assert ends[said] / 50 >= time + 0.1 - 1e-9
        assert said == 0 or ends[said - 1] / 50 < time + 0.1
        assert frozen >= said
        assert frozen == len(ends) - 1 or ends[frozen] >= ends[said] + 50 * hold - 1e-9
    assert len(found.said) == bisect_left(times, 12.0 - 0.1)


def test_counts() -> None:
    plan = Schedule((20, 40, 60), said=(0, 0, 2), frozen=(1, 1, 2))
    assert [plan.num_said(block) for block in range(3)] == [2, 2, 3]
    # Once block 1 is heard, the first two are still mended, by it for the last time.
    assert [plan.num_frozen_before(block) for block in range(3)] == [0, 0, 2]


@pytest.mark.parametrize("fields", [{"delay_seconds": -0.1}, {"hold_seconds": -1}])
def test_times_are_not_negative(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 or more"):
        Timing(**fields)

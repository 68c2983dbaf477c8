"""Moments of a stream laid out as one sequence, against a small example worked out by hand."""

import pytest
import torch

from echoic.asr.whisper.training.plan import IGNORED, Plan, Planner, collate
from echoic.asr.whisper.training.schedule import Schedule

PROMPT, END = (90, 91), 99
TOKENS = (11, 12, 13, 14)  # the last one is not heard in the window
# Two tokens are said after block 0, the third after block 2; the first two freeze at block 1.
TIMES = Schedule((10, 20, 30, 40), said=(0, 0, 2), frozen=(1, 1, 3))


def rows(plan: Plan) -> list[tuple[int, int, int, int, int]]:
    return list(
        zip(plan.tokens, plan.positions, plan.limits, plan.targets, plan.labels, strict=True)
    )


def seen(plan: Plan) -> list[str]:
    """Each place's row of the mask."""
    visible = collate([plan], END).visible[0]
    return ["".join("x" if v else "." for v in row) for row in visible.tolist()]


def test_the_prefix_form_by_hand() -> None:
    plan = Planner(PROMPT, END, "prefix")(TOKENS, TIMES, [0, 2])
    assert rows(plan) == [
        # After block 0: all text anew, with 10 frames of sound.
        (90, 0, 10, IGNORED, -1),
        (91, 1, 10, 11, 0),
        (11, 2, 10, 12, 1),
        (12, 3, 10, END, -1),
        # After block 2, with 30.
        (90, 0, 30, IGNORED, -1),
        (91, 1, 30, 11, 0),
        (11, 2, 30, 12, 1),
        (12, 3, 30, 13, 2),
        (13, 4, 30, END, -1),
    ]
    assert seen(plan) == [
        "x........",
        "xx.......",
        "xxx......",
        "xxxx.....",
        "....x....",
        "....xx...",
        "....xxx..",
        "....xxxx.",
        "....xxxxx",
    ]


def test_the_tail_form_by_hand() -> None:
    plan = Planner(PROMPT, END, "tail")(TOKENS, TIMES, [1, 2])
    assert rows(plan) == [
        # The trunk: each token with the sound that was heard when the next one froze.
        (90, 0, 20, IGNORED, -1),
        (91, 1, 20, 11, 0),
        (11, 2, 20, 12, 1),
        (12, 3, 40, 13, 2),
        (13, 4, 40, END, -1),
        # After block 1 nothing was frozen before: all anew, with 20 frames.
        (90, 0, 20, IGNORED, -1),
        (91, 1, 20, 11, 0),
        (11, 2, 20, 12, 1),
        (12, 3, 20, END, -1),
        # After block 2 two were: on from the second one, with 30 frames.
        (12, 3, 30, 13, 2),
        (13, 4, 30, END, -1),
    ]
    assert seen(plan) == [
        "x..........",
        "xx.........",
        "xxx........",
        "xxxx.......",
        "xxxxx......",
        ".....x.....",
        ".....xx....",
        ".....xxx...",
        ".....xxxx..",
        "xxx......x.",
        "xxx......xx",
    ]


@pytest.mark.parametrize("form", ["tail", "prefix"])
def test_where_nothing_is_said_the_answer_is_to_wait(form: str) -> None:
    silent = Schedule((10, 20), said=(), frozen=())
    plan = Planner(PROMPT, END, form)(TOKENS, silent, [0, 1])  # pyright: ignore[reportArgumentType]
    asked = [row for row in rows(plan) if row[3] != IGNORED]
    assert {row[3] for row in asked} == {END}
    assert {row[1] for row in asked} == {1}
    assert [row[2] for row in asked][-2:] == [10, 20]


def test_padding_asks_nothing_and_is_seen_by_nobody() -> None:
    long = Planner(PROMPT, END, "tail")(TOKENS, TIMES, [1, 2])
    short = Planner(PROMPT, END, "tail")(TOKENS, TIMES, [0])
    batch = collate([short, long], END)
    width = len(short)
    assert batch.tokens.shape == (2, len(long))
    assert batch.visible.shape == (2, len(long), len(long))
    assert batch.targets[0, width:].unique().tolist() == [IGNORED]
    assert batch.visible[0, :width, width:].sum() == 0
    # A place that sees nothing would make NaN of its softmax.
    assert bool(batch.visible[0, width:].any(-1).all())
    assert int(batch.limits.min()) >= 1
    assert torch.equal(batch.visible[0, :width, :width], collate([short], END).visible[0])
    moved = batch.to("cpu")
    assert torch.equal(moved.tokens, batch.tokens)


def test_forms_are_two() -> None:
    with pytest.raises(ValueError, match='form is \'whole\', expected "tail" or "prefix"'):
        Planner(PROMPT, END, "whole")  # pyright: ignore[reportArgumentType]

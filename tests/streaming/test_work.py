"""Work of many in step: the same as alone, errors stay where they are, and nobody is forgotten."""

from collections.abc import Sequence
from typing import Any

import pytest

from echoic.streaming.work import Ask, Failure, Rounds, Work, alone, together


class Squares:
    """An engine that keeps what it was asked; it fails on batches with a 13, and on a 13."""

    def __init__(self, stage: int = 0) -> None:
        self.stage = stage
        self.batches: list[list[int]] = []

    def answer(self, questions: Sequence[int], /) -> list[Any]:
        self.batches.append(list(questions))
        if 13 in questions:
            raise ArithmeticError("13 brings bad luck")
        return [Failure(ValueError("no zeros")) if not q else q * q for q in questions]


def squares(engine: Squares, *numbers: int) -> Work[list[int]]:
    found = []
    for number in numbers:
        found.append((yield Ask(engine, number)))
    return found


def test_questions_of_a_turn_are_answered_together() -> None:
    engine = Squares()
    works = [squares(engine, 1, 2, 3), squares(engine, 4), squares(engine), squares(engine, 5, 6)]
    outcomes = together(works)
    assert [outcome.result for outcome in outcomes] == [[1, 4, 9], [16], [], [25, 36]]
    assert engine.batches == [[1, 4, 5], [2, 6], [3]]
    assert alone(squares(Squares(), 7, 8)) == [49, 64]
    assert together([]) == []


def test_an_error_ends_one_piece_alone() -> None:
    engine = Squares()
    good, bad, none = together([squares(engine, 2, 3), squares(engine, 13), squares(engine, 0, 1)])
    assert good.result == [4, 9]
    assert isinstance(bad.error, ArithmeticError)
    assert isinstance(none.error, ValueError)
    with pytest.raises(ArithmeticError, match="bad luck"):
        alone(squares(engine, 13))

    def careful() -> Work[str]:
        try:
            yield Ask(engine, 0)
        except ValueError as error:
            return f"caught: {error}"
        return "missed"

    assert alone(careful()) == "caught: no zeros"


def test_lower_stages_are_asked_first() -> None:
    first, then = Squares(0), Squares(1)

    def work(count: int) -> Work[None]:
        for number in range(count):
            yield Ask(first, number + 1)
        yield Ask(then, count)

    together([work(1), work(3), work(2)])
    assert [sorted(batch) for batch in then.batches] == [[1, 2, 3]]
    assert len(first.batches) == 3


def test_pieces_come_and_go_between_turns() -> None:
    engine, rounds = Squares(), Rounds()
    one = rounds.add(squares(engine, 1, 2, 3))
    assert rounds.turn() == []
    two, three = rounds.add(squares(engine, 4)), rounds.add(squares(engine, 5, 6, 7))
    ((number, outcome),) = rounds.turn()
    assert (number, outcome.result) == (two, [16])
    left: list[bool] = []

    def leaving() -> Work[None]:
        try:
            yield Ask(engine, 9)
        finally:
            left.append(True)

    rounds.drop(rounds.add(leaving()))
    rounds.drop(three)
    rounds.drop(three)
    assert left == [True]
    ((number, outcome),) = rounds.turn()
    assert (number, outcome.result) == (one, [1, 4, 9])
    assert engine.batches == [[1], [2, 4, 5], [3]]
    assert (len(rounds), rounds.turn()) == (0, [])
    # What is over at once is told by the next turn, unless it was dropped.
    rounds.drop(rounds.add(squares(engine)))
    assert rounds.add(squares(engine)) == rounds.turn()[0].number


def test_who_rests_waits_and_loses_nothing() -> None:
    engine, rounds = Squares(), Rounds()
    one, two = rounds.add(squares(engine, 1, 2)), rounds.add(squares(engine, 3))
    assert rounds.turn({one})[0].number == two
    assert rounds.turn({one}) == []
    assert engine.batches == [[3]]
    rounds.turn()
    assert rounds.turn()[0].outcome.result == [1, 4]


@pytest.mark.parametrize("patience", [None, 5])
def test_nobody_waits_for_ever_where_others_keep_coming(patience: int | None) -> None:
    rounds, late, soon = Rounds(patience), Squares(1), Squares(0)
    rounds.add(squares(late, 1))
    for turn in range(20):
        rounds.add(squares(soon, 2))
        rounds.turn()
        assert bool(late.batches) == (patience is not None and turn >= patience)

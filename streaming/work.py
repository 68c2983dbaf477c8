"""Work of many streams in step: what a stream would compute by itself is answered for all at once.

A piece of work is a generator. Where it needs a network it yields an `Ask`, a question for an
engine, and is sent the answer. `alone` answers each question by itself; `together` gathers those of
many pieces of work, so that an engine computes a batch; and in `Rounds` pieces of work come and go
while others are in the middle. The work is written once, and does not know whether it has company.
"""

from collections.abc import Container, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

R = TypeVar("R")


class Engine(Protocol):
    """Computes for many at once.

    An answer must be the same whatever was asked beside it; an engine in floats keeps that to
    within rounding, and says so.
    """

    @property
    def stage(self) -> int:
        """Engines of a lower stage are asked first, so that those behind find larger batches."""
        ...

    def answer(self, questions: Sequence[Any], /) -> Sequence[Any]:
        """Answer questions of several streams, one or more, in their order.

        An answer may be a `Failure`. Who raises instead must have changed nothing: each question is
        asked again by itself.
        """
        ...


class Ask(NamedTuple):
    """A question for an engine."""

    engine: Engine
    question: Any


class Failure(NamedTuple):
    """An answer that is none: the error is raised where the question was asked."""

    error: Exception


Work = Generator[Ask, Any, R]


class Outcome(NamedTuple):
    """What became of a piece of work: its result, or the error that ended it."""

    result: Any
    error: Exception | None = None


class Ended(NamedTuple):
    """A piece of work that is over.

    Attributes:
        number: what `Rounds.add` gave for it.
        outcome: what became of it.
    """

    number: int
    outcome: Outcome


class _Pending(NamedTuple):
    ask: Ask
    since: int  # the turn that it waits from


class Rounds:
    """Pieces of work side by side, any of which may come and go between two turns.

    An error in one piece ends that piece alone. Where an engine fails on a batch, each question is
    put to it again by itself, so that only those that cannot be answered are lost.

    Args:
        patience: turns after which a question is answered before those of lower stages, so that
            nobody waits for ever where others keep coming; None where nobody comes later.
    """

    def __init__(self, patience: int | None = None) -> None:
        self._patience = patience
        self._works: dict[int, Work[Any]] = {}
        self._pending: dict[int, _Pending] = {}
        self._ended: list[Ended] = []
        self._next = self._turns = 0

    def __len__(self) -> int:
        """Return how many pieces there are of which no turn has told the end."""
        return len(self._works) + len(self._ended)

    def add(self, work: Work[Any]) -> int:
        """Take in a piece of work, bring it to its first question, and return its number."""
        number, self._next = self._next, self._next + 1
        self._works[number] = work
        self._go_on(number, Outcome(None))
        return number

    def drop(self, number: int) -> None:
        """Give a piece of work up, if it is still there; no turn tells of it."""
        self._pending.pop(number, None)
        self._ended = [ended for ended in self._ended if ended.number != number]
        work = self._works.pop(number, None)
        if work is not None:
            work.close()

    def turn(self, resting: Container[int] = ()) -> list[Ended]:
        """Ask one engine what all pieces of work ask of it; return the pieces that are over now.

        Args:
            resting: numbers of those whose questions wait.
        """
        pending = {n: p for n, p in self._pending.items() if n not in resting}
        if pending:
            engine = self._engine(list(pending.values()))
            self._turns += 1
            asking = [n for n, waits in pending.items() if waits.ask.engine is engine]
            questions = [self._pending.pop(n).ask.question for n in asking]
            for number, answer in zip(asking, _answers(engine, questions), strict=True):
                self._go_on(number, answer)
        ended, self._ended = self._ended, []
        return ended

    def _engine(self, pending: list[_Pending]) -> Engine:
        oldest = min(pending, key=lambda waits: waits.since)
        if self._patience is not None and self._turns - oldest.since >= self._patience:
            return oldest.ask.engine
        return min((waits.ask.engine for waits in pending), key=lambda engine: engine.stage)

    def _go_on(self, number: int, answer: Outcome) -> None:
        work = self._works[number]
        try:
            ask = work.send(answer.result) if answer.error is None else work.throw(answer.error)
        except StopIteration as end:
            self._end(number, Outcome(end.value))
        except Exception as failure:
            self._end(number, Outcome(None, failure))
        else:
            self._pending[number] = _Pending(ask, self._turns)

    def _end(self, number: int, outcome: Outcome) -> None:
        del self._works[number]
        self._ended.append(Ended(number, outcome))


def alone(work: Work[R]) -> R:
    """Do a piece of work by itself, and return its result."""
    (outcome,) = together([work])
    if outcome.error is not None:
        raise outcome.error
    return outcome.result


def together(works: Sequence[Work[Any]]) -> list[Outcome]:
    """Do pieces of work side by side, and return what became of each, in their order."""
    rounds = Rounds()
    numbers = [rounds.add(work) for work in works]
    outcomes: dict[int, Outcome] = {}
    while len(rounds):
        outcomes.update(rounds.turn())
    return [outcomes[number] for number in numbers]


def _answers(engine: Engine, questions: Sequence[Any]) -> list[Outcome]:
    try:
        answers = engine.answer(questions)
    except Exception as error:
        if len(questions) == 1:
            return [Outcome(None, error)]
        return [outcome for question in questions for outcome in _answers(engine, [question])]
    return [
        Outcome(None, answer.error) if isinstance(answer, Failure) else Outcome(answer)
        for answer in answers
    ]

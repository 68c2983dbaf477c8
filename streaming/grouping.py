"""An engine for streaming modules: steps of streams at the same phase are taken together."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from echoic.streaming import state as states
from echoic.streaming.module import Streaming


class Step(NamedTuple):
    """One stream's question for a `StepEngine`; the answer is the next state and the output.

    Attributes:
        state: of one stream: the module's own, or what the last answer gave.
        x: what has come, one row; None at the stream's end.
    """

    state: Any
    x: Tensor | None


class _Batch:
    """States of streams that were stepped together."""

    def __init__(self, state: Any, rows: int) -> None:
        self.state = state
        self.rows = rows
        self.kind = _kind(state)


class Held:
    """A stream's state that still lies among those it was stepped with.

    As long as the same streams are stepped together, nothing has to be taken apart and joined.
    """

    __slots__ = ("batch", "row")

    def __init__(self, batch: _Batch, row: int) -> None:
        self.batch = batch
        self.row = row

    @property
    def value(self) -> Any:
        """The module's own state of the one stream."""
        return states.select(self.batch.state, [self.row])


class StepEngine:
    """Takes steps of a streaming module, those of one kind together.

    Of one kind are steps whose states can be stacked, and whose inputs are of one length. What a
    stream gets is what it would get alone, bit for bit where the module's arithmetic does not
    depend on how many rows it has, otherwise within its rounding.

    States in answers are the module's own, or `Held`: one that is kept while the others go on keeps
    all that it was stepped with.

    Args:
        module: keeps the Streaming contract; outputs are tensors, or trees of them.
        stage: see `echoic.streaming.work.Engine`.
    """

    def __init__(self, module: Streaming[Any, Any, Any], stage: int = 0) -> None:
        self.module = module
        self.stage = stage

    def answer(self, questions: Sequence[Step], /) -> list[tuple[Any, Any]]:
        """Return the next state and the output of each."""
        if len(questions) == 1:
            return self._together(questions)
        kinds: dict[Hashable, list[int]] = {}
        for number, (state, x) in enumerate(questions):
            own = state.batch.kind if isinstance(state, Held) else _kind(state)
            kinds.setdefault((own, _kind(x)), []).append(number)
        answers: dict[int, tuple[Any, Any]] = {}
        for numbers in kinds.values():
            found = self._together([questions[number] for number in numbers])
            answers.update(zip(numbers, found, strict=True))
        return [answers[number] for number in range(len(questions))]

    def _together(self, questions: Sequence[Step]) -> list[tuple[Any, Any]]:
        state = _joined([question.state for question in questions])
        inputs = [question.x for question in questions if question.x is not None]
        if inputs:
            state, y = self.module.step(state, states.stack(inputs))
        else:
            state, y = self.module.finish(state)
        if len(questions) == 1:
            return [(state, y)]
        batch = _Batch(state, len(questions))
        outputs = states.split(y)
        return [(Held(batch, row), own) for row, own in enumerate(outputs)]


def _joined(own: Sequence[Any]) -> Any:
    """Return the state of several streams, from what each of them has."""
    first = own[0]
    if isinstance(first, Held) and all(
        isinstance(one, Held) and one.batch is first.batch for one in own
    ):
        rows = [one.row for one in own]
        if rows == list(range(first.batch.rows)):
            return first.batch.state
        return states.select(first.batch.state, rows)
    if len(own) == 1:
        return first
    return states.stack([one.value if isinstance(one, Held) else one for one in own])


def _kind(tree: Any) -> Hashable:
    return tuple((path, _form(leaf)) for path, leaf in states.leaves(tree).items())


def _form(leaf: Any) -> Hashable:
    if isinstance(leaf, Tensor):
        return leaf.shape[1:], leaf.dtype, leaf.device
    return type(leaf), leaf

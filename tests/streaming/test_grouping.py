"""Steps of streams that are taken together are those that each takes alone."""

from typing import Any

import pytest
import torch
from tiny_codec import tiny_codec
from torch import Tensor

from echoic.streaming.grouping import Held, Step, StepEngine
from echoic.streaming.work import Ask, Rounds, Work

CODES = torch.randint(32, (5, 3, 17), generator=torch.Generator().manual_seed(0))
TWOS = (2, 2, 2, 2, 2, 2, 5)
SIZES = (TWOS, TWOS, (3, 3, 3, 8), (17,), (0, *TWOS))


class Counted:
    """A streaming module that keeps how many rows each of its steps had."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.rows: list[int] = []

    def initial_state(self, batch_size: int, **options: Any) -> Any:
        return self.module.initial_state(batch_size, **options)

    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        self.rows.append(len(x))
        return self.module.step(state, x)

    def finish(self, state: Any) -> tuple[Any, Tensor]:
        return self.module.finish(state)


def decode(engine: StepEngine, row: int) -> Work[Tensor]:
    state, parts = engine.module.initial_state(1, device="cpu", dtype=torch.float32), []
    for codes in CODES[row : row + 1].split(list(SIZES[row]), dim=2):
        state, wav = yield Ask(engine, Step(state, codes))
        parts.append(wav)
    state, wav = yield Ask(engine, Step(state, None))
    return torch.cat([*parts, wav], dim=1)


@pytest.mark.parametrize("apart", [0, 1])
def test_a_codec_decodes_streams_that_come_and_go_as_it_does_alone(apart: int) -> None:
    codec = tiny_codec()
    module: Any = Counted(codec.streaming_decoder(3))
    engine, rounds, found = StepEngine(module), Rounds(), {}
    for row in range(len(CODES)):
        rounds.add(decode(engine, row))
        for _ in range(apart):
            found.update(rounds.turn())
    rounds.drop(4)  # it leaves those that it was stepped with
    while len(rounds):
        found.update(rounds.turn())
    assert len(found) == 4
    for row, outcome in found.items():
        assert outcome.error is None
        expected = codec.decode(CODES[row : row + 1])
        torch.testing.assert_close(outcome.result, expected, rtol=1e-5, atol=1e-5)
    assert max(module.rows) >= 2


def test_states_in_answers_are_values() -> None:
    module: Any = tiny_codec().streaming_decoder(3)
    engine = StepEngine(module)
    states = [module.initial_state(1, device="cpu", dtype=torch.float32) for _ in range(3)]
    first = engine.answer([Step(s, CODES[i : i + 1, :, :4]) for i, s in enumerate(states)])
    held = [state for state, _ in first]
    assert all(isinstance(state, Held) for state in held)
    ask = [Step(state, CODES[i : i + 1, :, 4:9]) for i, state in enumerate(held)]
    together = [wav for _, wav in engine.answer(ask)]
    back = [wav for _, wav in engine.answer(ask[::-1])][::-1]
    some = [wav for _, wav in engine.answer([ask[2], ask[0]])]
    single = [engine.answer([one])[0][1] for one in ask]
    for others in (back, single, [some[1], together[1], some[0]]):
        for one, other in zip(together, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # Beside one that was alone so far, and one that begins.
    alone, _ = module.step(states[1], CODES[1:2, :, :4])
    mixed = [ask[0], Step(alone, CODES[1:2, :, 4:9]), Step(states[2], CODES[2:3, :, :5])]
    found = engine.answer(mixed)
    torch.testing.assert_close(found[1][1], together[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        found[2][1], module.step(states[2], CODES[2:3, :, :5])[1], rtol=1e-5, atol=1e-5
    )


def test_an_input_that_no_module_takes_spoils_nobody_elses() -> None:
    module: Any = tiny_codec().streaming_decoder(3)
    engine, rounds = StepEngine(module), Rounds()
    state = module.initial_state(1, device="cpu", dtype=torch.float32)

    def bad() -> Work[None]:
        yield Ask(engine, Step(state, torch.full((1, 3, 1), 99)))

    good, wrong = rounds.add(decode(engine, 0)), rounds.add(bad())
    found = {}
    while len(rounds):
        found.update(rounds.turn())
    assert isinstance(found[wrong].error, ValueError)
    assert found[good].error is None

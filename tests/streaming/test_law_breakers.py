"""Modules that break one law each: the law must notice."""

from collections.abc import Callable
from typing import Any

import pytest
import streaming_laws as laws
import torch
from streaming_laws import Case, noise
from torch import Tensor


class RunningSum:
    """A lawful module: the sum of each value and the one before it."""

    frame_size = 1
    lookahead = 0

    def initial_state(self, batch_size: int, *, device: Any, dtype: torch.dtype) -> Any:
        return torch.zeros(batch_size, 1, device=device, dtype=dtype)

    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        joined = torch.cat([state, x], dim=1)
        return joined[:, -1:].clone(), joined[:, 1:] + joined[:, :-1]

    def finish(self, state: Any) -> tuple[Any, Tensor]:
        return state, state[:, :0]


class ForgetsBetweenChunks(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        return super().step(torch.zeros_like(state), x)


class HearsTheFuture(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        state, y = super().step(state, x)
        return state, y + x.flip(1)


class WaitsTooLong(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        joined = torch.cat([state, x], dim=1)
        return joined[:, -9:].clone(), joined[:, :-9]

    def finish(self, state: Any) -> tuple[Any, Tensor]:
        return state, state


class KeepsEverything(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        joined = torch.cat([state, x], dim=1)
        return joined, x


class KeepsAView(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        joined = torch.cat([state, x], dim=1)
        return joined[:, -1:], joined[:, 1:] + joined[:, :-1]


class WritesIntoItsState(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        new, y = super().step(state, x)
        return state.copy_(new), y


class RemembersOutside(RunningSum):
    """Law 5, seen by the branches of law 4."""

    def __init__(self) -> None:
        self.calls = 0

    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        self.calls += x.shape[1] > 1
        state, y = super().step(state, x)
        return state, y + self.calls


class KeepsTheCallersMemory(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        _, y = super().step(state, x)
        return (x[:, -1:] if x.shape[1] else state), y


class MixesRows(RunningSum):
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        state, y = super().step(state, x)
        return state, y + state.mean(0, keepdim=True)


BREAKERS = [
    (laws.check_chunk_invariance, ForgetsBetweenChunks),
    (laws.check_causality, HearsTheFuture),
    (laws.check_causality, WaitsTooLong),
    (laws.check_gradients, HearsTheFuture),
    (laws.check_bounded_state, KeepsEverything),
    (laws.check_bounded_state, KeepsAView),
    (laws.check_untouched, WritesIntoItsState),
    (laws.check_untouched, RemembersOutside),
    (laws.check_input_is_copied, KeepsTheCallersMemory),
    (laws.check_batching, MixesRows),
]
LAWS = list(dict.fromkeys(law for law, _ in BREAKERS))


@pytest.mark.parametrize(("law", "breaker"), BREAKERS, ids=lambda value: value.__name__)
def test_the_law_notices(law: Callable[[Case], None], breaker: Callable[[], Any]) -> None:
    with pytest.raises(AssertionError):
        law(Case("breaker", breaker, noise(), 200))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_lawful_pass(law: Callable[[Case], None]) -> None:
    law(Case("lawful", RunningSum, noise(), 200))

"""Recognisers that break one law each: the law must notice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import streaming_laws as laws
import torch
from energy_words import EnergyState, EnergyWords
from live_signals import speech
from streaming_laws import Case
from torch import Tensor

from echoic.streaming.events import Event

Result = tuple[EnergyState, list[Event]]


class TellsTheChunk(EnergyWords):
    """The time of its events is the end of the chunk, not of the block."""

    def step(self, state: EnergyState, wav: Tensor) -> Result:
        heard = (state.blocks * self.frame_size + state.pending.shape[1] + wav.shape[1]) / 16_000
        state, events = super().step(state, wav)
        return state, [replace(event, audio_time=heard) for event in events]


class TellsTooEarlyATime(EnergyWords):
    def step(self, state: EnergyState, wav: Tensor) -> Result:
        state, events = super().step(state, wav)
        return state, [replace(e, audio_time=e.audio_time - 0.2) for e in events]


class ClaimsNoLookahead(EnergyWords):
    """Hears ahead and does not say so."""

    def __init__(self) -> None:
        super().__init__(lookahead=4000)

    def __getattribute__(self, name: str) -> Any:
        if name == "lookahead" and not super().__getattribute__("__dict__").get("inside"):
            return 0
        return super().__getattribute__(name)

    def step(self, state: EnergyState, wav: Tensor) -> Result:
        self.__dict__["inside"] = True
        try:
            return super().step(state, wav)
        finally:
            del self.__dict__["inside"]


class KeepsItsHistory(EnergyWords):
    def step(self, state: EnergyState, wav: Tensor) -> Result:
        state, events = super().step(state, wav)
        return replace(state, told=state.told + "." * wav.shape[1]), events


class RemembersOutside(EnergyWords):
    calls = 0

    def step(self, state: EnergyState, wav: Tensor) -> Result:
        self.calls += wav.shape[1] > 1
        state, events = super().step(state, wav)
        return state, [replace(event, end=event.end + self.calls) for event in events]


class KeepsTheCallersMemory(EnergyWords):
    def __init__(self) -> None:
        super().__init__(5000)  # the largest part of a block is held after the second chunk

    def step(self, state: EnergyState, wav: Tensor) -> Result:
        state, events = super().step(state, wav)
        rest = state.pending.shape[1]
        if 0 < rest <= wav.shape[1]:
            state = replace(state, pending=wav[:, wav.shape[1] - rest :])
        return state, events


BREAKERS = [
    (laws.check_chunk_invariance, TellsTheChunk),
    (laws.check_causality, TellsTooEarlyATime),
    (laws.check_causality, ClaimsNoLookahead),
    (laws.check_bounded_state, KeepsItsHistory),
    (laws.check_untouched, RemembersOutside),
    (laws.check_input_is_copied, KeepsTheCallersMemory),
]


def case(make: Callable[[], Any]) -> Case:
    return Case(
        "breaker", make, speech, 48_000, differentiable=False, batched=False, settles=24_000
    )


@pytest.mark.parametrize(("law", "breaker"), BREAKERS, ids=lambda value: value.__name__)
def test_the_law_notices(law: Callable[[Case], None], breaker: Callable[[], Any]) -> None:
    with pytest.raises(AssertionError):
        law(case(breaker))


def test_time_of_work_is_not_compared() -> None:
    class Slower(EnergyWords):
        calls = 0

        def step(self, state: EnergyState, wav: Tensor) -> Result:
            self.calls += 1
            state, events = super().step(state, wav)
            return state, [replace(event, compute_ms=float(self.calls)) for event in events]

    laws.check_chunk_invariance(case(Slower))


def test_signals_without_events_are_no_test() -> None:
    def silence(batch: int, frames: int, _: torch.Generator) -> Tensor:
        return torch.zeros(batch, frames)

    with pytest.raises(AssertionError, match="no event"):
        laws.check_chunk_invariance(replace(case(EnergyWords), inputs=silence))

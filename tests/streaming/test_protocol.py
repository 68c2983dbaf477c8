"""A recogniser that breaks its protocol is told so, and the session stays as it was."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from energy_words import EnergyState, EnergyWords
from torch import Tensor

from echoic.streaming.events import Event, EventWord
from echoic.streaming.gate import GateConfig
from echoic.streaming.session import Session, SessionConfig


class Scripted(EnergyWords):
    """Makes the given events, one for each block of 50 ms; then the given last ones."""

    def __init__(self, *script: Event, last: tuple[Event, ...] = ()) -> None:
        super().__init__()
        self._script = script
        self._last = last

    def step(self, state: EnergyState, wav: Tensor) -> tuple[EnergyState, list[Event]]:
        sound = torch.cat([state.pending, wav], dim=1)
        events = []
        while sound.shape[1] >= self.frame_size:
            events += self._script[state.blocks : state.blocks + 1]
            sound, state = sound[:, self.frame_size :], replace(state, blocks=state.blocks + 1)
        return replace(state, pending=sound.clone()), events

    def finish(self, state: EnergyState) -> tuple[EnergyState, list[Event]]:
        return self.initial_state(), list(self._last)


def heard(text: str, stable: int = 0, kind: Any = "partial") -> Event:
    words = tuple(EventWord(word, 0.0, 0.05, 0.5) for word in text.split())
    return Event(kind, text, 0.0, 0.05, words, stable, 0.05)


def live(*script: Event, last: tuple[Event, ...] = ()) -> Session[Any]:
    config = SessionConfig(GateConfig(enabled=False))
    return Session(Scripted(*script, last=last), sample_rate=16_000, config=config)


BREACHES = {
    "took back stable words": [heard("a b", 2), heard("a c", 2)],
    r"took back stable words: \['a', 'b'\] became \['a'\]": [heard("a b", 2), heard("a", 1)],
    "1 stable words at 0.050 s after 2": [heard("a b", 2), heard("a b", 1)],
    "became .* in a final": [heard("a b", 2), heard("x b", 2, "final")],
    "made an endpoint": [Event("endpoint", "", 0.0, 0.0)],
    "expected finite": [replace(heard("a"), end=float("nan"))],
}


@pytest.mark.parametrize("message", BREACHES)
def test_breaches_are_told(message):
    session = live(*BREACHES[message])
    session.feed(torch.zeros(799))
    before = session.snapshot()
    with pytest.raises(RuntimeError, match=message):
        session.feed(torch.zeros(1600))
    assert session.snapshot() is before


def test_stable_words_must_become_final():
    session = live(heard("a b", 1))
    session.feed(torch.zeros(1600))
    with pytest.raises(RuntimeError, match=r"left \['a'\] stable, not final"):
        session.finish()


def test_what_is_allowed():
    script = [
        heard("a"),
        heard("b", 0),  # not stable: may change
        heard("b c", 1),
        heard("b d e", 2),
        heard("b", 1, "final"),  # closes the first; the second stays promised
        heard("d", 1),
        heard("d f", 2),
    ]
    session = live(*script, last=(heard("d f", 2, "final"),))
    events = session.feed(torch.zeros(16_000)) + session.finish()
    assert [event.text for event in events] == [*(e.text for e in script), "d f"]


def test_a_failing_recogniser_leaves_the_session_as_it_was(monkeypatch):
    session = live(heard("a"))
    before = session.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(session.recognizer, "step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.feed(torch.zeros(1600))
    assert session.snapshot() is before
    assert [event.text for event in session.feed(torch.zeros(1600))] == ["a"]

"""Sounds that live streams meet, and adapters that show their parts to the laws."""

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from energy_words import EnergyWords
from torch import Tensor

from echoic.audio.endpoint import EndpointConfig
from echoic.audio.io import load
from echoic.audio.resample import Resampler
from echoic.audio.silero import SileroVad
from echoic.streaming.gate import Ended, GateConfig, GateState, Opened, SpeechGate
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.session import Session, SessionConfig, SessionState

RATE = 16_000
DATA = Path(__file__).parent / "data"


@functools.cache
def recordings() -> tuple[Tensor, ...]:
    """Five read sentences, each (N,) at 16 kHz, 3 to 7 s."""
    rows = [json.loads(line) for line in (DATA / "manifest.jsonl").read_text().splitlines()]
    return tuple(load(DATA / row["audio"]).wav[0] for row in rows)


@functools.cache
def vad() -> SileroVad:
    return SileroVad.from_installed()


def speech(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """Pieces of 1.1 s of the sentences with pauses of 0.5 s, from anywhere on: (batch, frames)."""
    return torch.stack([_pieces(frames, generator) for _ in range(batch)])


def speech_8k(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """The same at 8 kHz."""
    return Resampler(RATE, 8000)(speech(batch, 2 * frames, generator))[:, :frames]


def _pieces(frames: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(5, generator=generator).tolist()
    pause = 1e-4 * torch.randn(RATE // 2, generator=generator)
    pieces = [recordings()[i][RATE // 5 : RATE * 13 // 10] for i in order]
    once = torch.cat([part for piece in pieces for part in (piece, pause)])
    start = int(torch.randint(0, len(once), (), generator=generator))
    return once.roll(-start).repeat(-(-frames // len(once)))[:frames]


def quick_gate(seconds: float = 0.3, **changes: Any) -> GateConfig:
    """Return a gate that ends utterances soon, so that short signals have several."""
    return replace(GateConfig(endpoint=EndpointConfig(9.0, seconds, 9.0)), **changes)


def no_clock() -> float:
    return 0.0


@dataclass(frozen=True)
class GateEvent:
    """An action of the gate, or a frame of its sound."""

    kind: str
    position: int
    audio_time: float
    sound: str = ""


class GateEvents:
    """Shows the gate's actions as events; sound frame by frame, as gates may join it."""

    sample_rate = RATE
    lookahead = 0
    frame_size = 512

    def __init__(self, config: GateConfig) -> None:
        self.gate = SpeechGate(config, vad=vad())

    def initial_state(self, batch_size: int, **options: Any) -> tuple[GateState, int, int]:
        return self.gate.initial_state(batch_size, **options), 0, 0

    def step(self, state: Any, x: Tensor) -> tuple[Any, list[GateEvent]]:
        gate, actions = self.gate.step(state[0], x)
        return self._shown(gate, actions, *state[1:])

    def finish(self, state: Any) -> tuple[Any, list[GateEvent]]:
        gate, actions = self.gate.finish(state[0])
        return self._shown(gate, actions, *state[1:])

    def _shown(self, gate: GateState, actions: Any, given: int, opened: int) -> Any:
        events = []
        for action in actions:
            if isinstance(action, Opened):
                given, opened = action.start, action.time
                events.append(GateEvent("opened", given, opened / RATE))
            elif isinstance(action, Ended):
                events.append(GateEvent(f"ended {action.rule}", action.end, action.end / RATE))
            else:
                for frame in action.wav[0].split(self.frame_size):
                    given += len(frame)
                    at = max(given, opened) / RATE
                    digest = hashlib.sha256(frame.numpy().tobytes()).hexdigest()
                    events.append(GateEvent("sound", given, at, digest))
        return (gate, given, opened), events


class SessionEvents:
    """A session as a streaming module."""

    frame_size = 512

    def __init__(
        self,
        recognizer: Recognizer[Any] | None = None,
        *,
        sample_rate: int = RATE,
        lookahead: int = 0,
        gate: GateConfig | None = None,
    ) -> None:
        self.recognizer = recognizer or EnergyWords()
        self.sample_rate = sample_rate
        self.lookahead = lookahead + self.recognizer.lookahead
        self._config = SessionConfig(gate or quick_gate())

    def session(self) -> Session[Any]:
        return Session(
            self.recognizer,
            sample_rate=self.sample_rate,
            config=self._config,
            clock=no_clock,
            vad=vad(),
        )

    def initial_state(self, batch_size: int, **_: Any) -> SessionState:
        assert batch_size == 1
        return self.session().snapshot()

    def step(self, state: SessionState, x: Tensor) -> tuple[SessionState, list[Any]]:
        session = self.session()
        session.restore(state)
        events = session.feed(x)
        return session.snapshot(), events

    def finish(self, state: SessionState) -> tuple[SessionState, list[Any]]:
        session = self.session()
        session.restore(state)
        events = session.finish()
        return session.snapshot(), events

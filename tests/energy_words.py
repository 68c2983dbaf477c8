"""A small real recogniser: every burst of energy is a word, named after its length and loudness."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from echoic.streaming.events import Event, EventWord

CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class EnergyState:
    """Sound of no full block yet; (1, N, 3) first and last block and loudness in dB of the words.

    The last word goes on until `patience` blocks of silence; `quiet` counts them.
    """

    pending: Tensor
    words: Tensor
    blocks: int = 0
    quiet: int = 0
    told: str = ""


class EnergyWords:
    """Obeys `Recognizer`: a word is stable after some blocks of silence, final after `close_at`."""

    sample_rate = 16_000

    def __init__(
        self,
        frame_size: int = 800,
        *,
        lookahead: int = 0,
        floor_db: float = -38.0,
        patience: int = 2,
    ) -> None:
        self.frame_size = frame_size
        self.lookahead = lookahead
        self._floor = floor_db
        self._patience = 2
        self._close_at = 5

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> EnergyState:
        assert batch_size == 1
        empty = torch.zeros(1, 0, device=device, dtype=dtype)
        return EnergyState(empty, torch.zeros(1, 0, 3, dtype=torch.int64), quiet=self._patience)

    def step(self, state: EnergyState, wav: Tensor) -> tuple[EnergyState, list[Event]]:
        assert wav.shape[0] == 1
        assert wav.dtype == torch.float32
        sound, events = torch.cat([state.pending, wav], dim=1), []
        while sound.shape[1] >= self.frame_size + self.lookahead:
            state, new = self._hear(state, sound[:, : self.frame_size + self.lookahead])
            sound = sound[:, self.frame_size :]
            events += new
        return replace(state, pending=sound.clone()), events

    def finish(self, state: EnergyState) -> tuple[EnergyState, list[Event]]:
        events: list[Event] = []
        rest = state.pending
        while rest.shape[1]:
            state, new = self._hear(state, rest[:, : self.frame_size + self.lookahead])
            events += [event for event in new if event.type == "final"]
            rest = rest[:, self.frame_size :]
        samples = state.blocks * self.frame_size
        if state.pending.shape[1] % self.frame_size:
            samples += state.pending.shape[1] % self.frame_size - self.frame_size
        if state.words.shape[1]:
            words = _words(state.words, self.frame_size / self.sample_rate)
            events.append(_event("final", words, len(words), samples / self.sample_rate))
        return self.initial_state(), events

    def _hear(self, state: EnergyState, block: Tensor) -> tuple[EnergyState, list[Event]]:
        decibels = float(10 * block.double().square().mean().clamp_min(1e-12).log10())
        words, quiet = state.words, state.quiet
        if decibels < self._floor:
            quiet = min(self._patience, quiet + 1)
        else:
            fresh = torch.tensor([[[state.blocks, state.blocks, round(decibels)]]])
            if quiet < self._patience:
                last = words[:, -1:]
                fresh = torch.stack([last, fresh]).amax(0)
                fresh[..., 0] = last[..., 0]
                words = words[:, :-1]
            words, quiet = torch.cat([words, fresh], dim=1), 0
        state = replace(state, words=words, blocks=state.blocks + 1, quiet=quiet)
        return self._tell(state)

    def _tell(self, state: EnergyState) -> tuple[EnergyState, list[Event]]:
        seconds = self.frame_size / self.sample_rate
        words = _words(state.words, seconds)
        stable = len(words) if state.quiet >= self._patience else max(0, len(words) - 1)
        now = state.blocks * seconds
        if stable >= self._close_at:
            rest = state.words[:, stable:].clone()
            event = _event("final", words[:stable], stable, now)
            return replace(state, words=rest, told=""), [event]
        key = f"{stable} {' '.join(word.text for word in words)}"
        if not words or key == state.told:
            return state, []
        return replace(state, told=key), [_event("partial", words, stable, now)]


def _words(rows: Tensor, seconds: float) -> tuple[EventWord, ...]:
    return tuple(
        EventWord(
            f"w{last - first + 1}at{-loud}", first * seconds, (last + 1) * seconds, CONFIDENCE
        )
        for first, last, loud in rows[0].tolist()
    )


def _event(kind, words: tuple[EventWord, ...], stable: int, now: float) -> Event:
    text = " ".join(word.text for word in words)
    return Event(kind, text, words[0].start, words[-1].end, words, stable, now)

"""What tests of the demo use: a recogniser of known words, and a page without a browser."""

import base64
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echoic.demo.hub import LiveHub
from echoic.streaming.events import Event, EventWord

RATE = 16000
SECONDS_PER_WORD = 0.5


class Reciter:
    """Says one word of a text each half second of sound, and may be slow about it."""

    sample_rate = RATE
    frame_size = 1600
    lookahead = 0

    def __init__(self, text: str, *, slowness: float = 0.0, fails_after: int | None = None) -> None:
        self.words = text.split()
        self.slowness = slowness
        self.fails_after = fails_after

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> int:
        return 0

    def step(self, state: int, wav: Tensor) -> tuple[int, list[Event]]:
        time.sleep(self.slowness)
        heard = state + wav.shape[1]
        if self.fails_after is not None and heard > self.fails_after:
            raise RuntimeError("out of words")
        counts = range(self._count(state) + 1, self._count(heard) + 1)
        return heard, [self._event("partial", count) for count in counts]

    def finish(self, state: int) -> tuple[int, list[Event]]:
        count = self._count(state)
        return 0, [self._event("final", count)] if count else []

    def _count(self, samples: int) -> int:
        return min(len(self.words), int(samples / RATE / SECONDS_PER_WORD))

    def _event(self, kind: Any, count: int) -> Event:
        words = tuple(
            EventWord(word, SECONDS_PER_WORD * i, SECONDS_PER_WORD * (i + 1), 0.9)
            for i, word in enumerate(self.words[:count])
        )
        stable = count if kind == "final" else max(0, count - 1)
        text = " ".join(word.text for word in words)
        return Event(kind, text, 0.0, words[-1].end, words, stable, words[-1].end)


def pcm(samples: np.ndarray) -> str:
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


def silence(seconds: float, rate: int = RATE, channels: int = 1) -> str:
    return pcm(np.zeros((round(seconds * rate), channels)))


class Browser:
    """Does what assets/captions.js does, as fast as it can."""

    def __init__(self, hub: LiveHub, name: str = "page-one", rate: int = RATE) -> None:
        self.hub, self.name, self.rate = hub, name, rate
        self.sent = self.seen = 0
        self.lines: list[str] = []

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        answer = self.hub.handle({"page": self.name, "do": do, "seen": self.seen, **fields})
        if "problem" not in answer and do != "export":
            if answer["from"] == 0:
                self.lines = []
            self.lines += answer["lines"]
            self.seen = answer["total"]
        return answer

    def start(self, chunk_ms: int = 320) -> dict[str, Any]:
        self.sent = 0
        return self.ask("start", chunk_ms=chunk_ms, rate=self.rate)

    def hear(self, seconds: float, channels: int = 1) -> dict[str, Any]:
        sound = silence(seconds, self.rate, channels)
        answer = self.ask("hear", at=self.sent, rate=self.rate, pcm=sound, channels=channels)
        self.sent += round(seconds * self.rate)
        return answer

    def wait_for(self, phase: str, seconds: float = 10.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (answer := self.ask("look"))["phase"] != phase:
            assert time.monotonic() < deadline, answer
            time.sleep(0.01)
        return answer

    def stop(self) -> dict[str, Any]:
        self.ask("stop")
        return self.wait_for("idle")

    @property
    def text(self) -> str:
        return self.ask("export", kind="txt")["text"]

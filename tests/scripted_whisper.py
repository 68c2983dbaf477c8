"""A causal Whisper that says what a script tells it, whenever it has heard it.

Its sound, windows, freezing and events are the real ones; only what the decoder would say is known.
Like a real one, it says what it hears in its window behind the text that is frozen: a window that
begins too early makes it say words twice, one that begins too late makes it forget some.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from random_whisper import random_whisper
from torch import Tensor

from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.decoder import no_past
from echoic.asr.whisper.streaming.saying import Speaker, Text
from echoic.asr.whisper.streaming.search import Tail
from echoic.asr.whisper.streaming.times import BEGIN_LATE, END_LATE
from echoic.asr.whisper.streaming.window import Window
from echoic.streaming.events import Event, EventWord
from echoic.streaming.layers.key_values import KeyValues
from echoic.streaming.work import Work


class Spoken(NamedTuple):
    """A word with its space, and the seconds at which it is spoken."""

    text: str
    start: float
    end: float


class Scripted(CausalWhisper):
    """Says the words of a script `delay` seconds after they end."""

    def __init__(
        self,
        script: Sequence[Spoken],
        config: CausalConfig,
        *,
        delay: float = 0.1,
        multilingual: bool = False,
    ) -> None:
        super().__init__(random_whisper(multilingual=multilingual), config)
        self.windows: list[float] = []  # where each that was spoken in began
        self._speaker = _ScriptedSpeaker(self, script, delay)


class _ScriptedSpeaker(Speaker):
    def __init__(self, owner: Scripted, script: Sequence[Spoken], delay: float) -> None:
        super().__init__(owner.model, owner.config)
        self.owner = owner
        self.delay = delay
        encode = owner.model.tokenizer.encode
        self.script = [(word, encode(word.text)) for word in script]

    def _searching(self, text: Text, window: Window) -> Work[Tail]:
        yield from ()
        start = window.start / SAMPLE_RATE
        if start not in self.owner.windows:
            self.owner.windows.append(start)
        heard = [
            (word, ids)
            for word, ids in self.script
            # A word of which more than a bit is cut off cannot be heard.
            if word.start >= start - 0.03 and word.end + self.delay <= window.heard + 1e-6
        ]
        ids = [i for _, word in heard for i in word]
        frozen = text.frozen.ids
        # What is frozen was heard earlier in this window, or in the last one: go on behind it.
        at = _behind(frozen, ids)
        spans = [word for word, own in heard for _ in own][at:]
        tokens = ids[at:]
        past = no_past(self.model.decoder)
        length = len(self.prompt) + len(frozen) + len(tokens)
        return Tail(
            tokens,
            [0.0] * len(tokens),
            [0.9] * len(tokens),
            0,
            tuple(_blank(layer, length) for layer in past),
            _looks(spans, start, window.frames),
            1,
            -0.1,
        )


def _behind(frozen: list[int], heard: list[int]) -> int:
    """Return how much of what is heard lies before the end of the frozen text."""
    for at in range(len(heard), 0, -1):
        length = min(at, len(frozen))
        if length and heard[at - length : at] == frozen[len(frozen) - length :]:
            return at
    return 0


def _blank(layer: KeyValues, length: int) -> KeyValues:
    heads, width = layer.keys.shape[1], layer.keys.shape[3]
    return KeyValues(torch.zeros(1, heads, length, width), torch.zeros(1, heads, length, width))


def _looks(spans: Sequence[Spoken], start: float, frames: int) -> Tensor:
    """Attention that tells the times of words: their begin and their end, as the model is late."""
    looks = torch.full((1, len(spans) + 1, frames), 1e-6)
    for row, word in enumerate(spans):
        for share, second in ((0.4, word.start + BEGIN_LATE), (0.6, word.end + END_LATE)):
            frame = min(max(round((second - start) * 50), 0), frames - 1)
            looks[0, row, frame] += share
    return looks


def listen(recognizer: CausalWhisper, wav: Tensor, piece: int = 8000) -> list[Event]:
    """Return the events of sound (N,) in pieces."""
    state, events = recognizer.initial_state(), []
    for part in wav[None].split(piece, dim=1):
        state, new = recognizer.step(state, part)
        events += new
    return events + recognizer.finish(state)[1]


def finals(events: Sequence[Event]) -> list[EventWord]:
    """Return the words of the finals."""
    return [word for event in events if event.type == "final" for word in event.words]


def check_promises(events: Sequence[Event]) -> None:
    """What is stable stays as it was told, in order; finals close it; words follow each other."""
    stable: list[EventWord] = []
    closed, clock = 0, 0.0
    for event in events:
        assert event.type in ("partial", "final")
        kept = list(event.words[: event.stable])
        promised = stable[closed:]
        assert kept[: len(promised)] == promised[: len(kept)]
        stable += kept[len(promised) :]
        if event.type == "final":
            closed += len(kept)
        else:
            assert len(kept) >= len(promised)
        times = [time for word in event.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert all(0 <= time <= event.audio_time + 1e-6 for time in times)
        assert event.audio_time >= clock
        clock = event.audio_time
        assert all(word.text == word.text.strip() != "" for word in event.words)
        assert all(0 <= word.confidence <= 1 for word in event.words)
    assert closed == len(stable)
    times = [time for word in stable for time in (word.start, word.end)]
    assert times == sorted(times)

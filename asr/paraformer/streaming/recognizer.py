"""Live recognition with Paraformer: sound in, events out; a token that was said stays.

```python
recognizer = ParaformerRecognizer(Paraformer.from_pretrained("a/folder"))
session = Session(recognizer, sample_rate=16_000)
```
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.recognition import word_end
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.tokens import Tokens, TokenStream
from echoic.streaming.events import Event, EventType, EventWord
from echoic.streaming.module import chain


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """How Paraformer hears a live utterance.

    Attributes:
        chunks: the cut.
        close_seconds: words are closed by a final once the first of them is so old.
        hotwords: to expect, see `TokenStream`.
    """

    chunks: Chunks = field(default_factory=Chunks)
    close_seconds: float = 20.0
    hotwords: HotWords | None = None

    def __post_init__(self) -> None:
        if not self.close_seconds > 0:
            raise ValueError(f"close_seconds is {self.close_seconds}: expected more than 0")


class Open(NamedTuple):
    """Tokens that are in no final yet.

    Attributes:
        ids: (1, n) int64, text alone.
        probabilities: (1, n).
        times: (1, n, 2) float64 seconds, begin and end.
    """

    ids: Tensor
    probabilities: Tensor
    times: Tensor

    def plus(self, more: "Open") -> "Open":
        """Return these tokens and others behind them."""
        return Open(*(torch.cat(pair, dim=1) for pair in zip(self, more, strict=True)))

    def without(self, count: int) -> "Open":
        """Return what follows the first `count` tokens."""
        return Open(*(part[:, count:].clone() for part in self))


class LiveState(NamedTuple):
    """What a live utterance is remembered by.

    Attributes:
        pending: (1, n) samples that do not complete a block yet.
        stream: of the features, the encoder and the decoder.
        open: tokens.
        blocks: blocks of which the tokens are known.
        shown: text of the last event.
        stable: its stable words.
    """

    pending: Tensor
    stream: tuple[Any, ...]
    open: Open
    blocks: int
    shown: str
    stable: int


class ParaformerRecognizer:
    """A recogniser of one live utterance; see `echoic.streaming.recognizer.Recognizer`.

    Every word is stable as soon as it is complete. The state grows to `close_seconds` of tokens.

    Args:
        model: turned to inference.
        config: how to stream.

    Raises:
        ValueError: a model that does not stream, see `TokenStream`.
    """

    def __init__(self, model: Paraformer, config: LiveConfig | None = None) -> None:
        self.model = model
        self.config = LiveConfig() if config is None else config
        tokens = TokenStream(model, self.config.chunks, self.config.hotwords)
        self._stream = chain(model.frontend, tokens)
        front = model.config.frontend
        self.sample_rate = front.sample_rate
        self.frame_size = self._stream.frame_size
        # Where the last stack that a block needs ends; less than the sum of what each part needs.
        stack = front.lfr_n * front.hop_length
        reach = front.lfr_m // 2 * front.hop_length + front.frame_length - stack
        ahead = 0 if self.config.chunks.compat else self.config.chunks.look_ahead
        self.lookahead = max(0, ahead * stack + reach)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> LiveState:
        """Return the state of an utterance that has not begun; it lives where the model does.

        Raises:
            ValueError: more than one stream.
        """
        del device, dtype
        if batch_size != 1:
            raise ValueError(f"{batch_size} streams, expected 1: give each a state of its own")
        stream = self._stream.initial_state(1, device=self._device)
        pending = torch.empty(1, 0, device=self._device)
        return LiveState(pending, stream, _opened([], [], []), 0, "", 0)

    @torch.inference_mode()
    def step(self, state: LiveState, wav: Tensor) -> tuple[LiveState, list[Event]]:
        """Hear samples (1, T), any number of them; say something after each block.

        Raises:
            ValueError: sound of another shape.
        """
        if wav.dim() != 2 or wav.shape[0] != 1:
            raise ValueError(f"sound of shape {tuple(wav.shape)}, expected (1, T): mix it to mono")
        sound = torch.cat([state.pending, wav.to(self._device, torch.float32)], dim=1)
        events: list[Event] = []
        # The same pieces however the sound is cut: features are not rounded in different ways.
        while sound.shape[1] >= (wanted := self._wanted(state)):
            stream, tokens = self._stream.step(state.stream, sound[:, :wanted])
            state, new = self._block(state._replace(stream=stream), self._spoken(tokens))
            events += new
            sound = sound[:, wanted:]
        return state._replace(pending=sound.clone()), events

    @torch.inference_mode()
    def finish(self, state: LiveState) -> tuple[LiveState, list[Event]]:
        """End the utterance: say the last words, also of a block that is not full."""
        heard = state.blocks * self.frame_size + state.pending.shape[1]
        end = (heard + (self.lookahead if state.blocks else 0)) / self.sample_rate
        stream, tokens = self._stream.step(state.stream, state.pending)
        rest = self._stream.finish(stream)[1]
        last = self._spoken(tokens).plus(self._spoken(rest))
        # The last frame may reach beyond the sound.
        said = state.open.plus(last._replace(times=last.times.clamp(max=end)))
        words = self._words(said, end)
        events = [self._event("final", words, len(words), end)] if words else []
        return self.initial_state(), events

    def _wanted(self, state: LiveState) -> int:
        """Return how many more samples complete a block."""
        return self.frame_size + (0 if state.blocks else self.lookahead)

    @property
    def _device(self) -> torch.device:
        return self.model.encoder.norm.weight.device

    def _spoken(self, tokens: Tokens) -> Open:
        """Return what of a stream's tokens is text."""
        ids, probabilities, *times = (part[0].tolist() for part in tokens)
        at = [i for i, token in enumerate(ids) if token >= 0]
        at = [i for i in at if self.model.tokenizer.is_spoken(ids[i])]
        return _opened(
            [ids[i] for i in at],
            [probabilities[i] for i in at],
            [[part[i] for part in times] for i in at],
        )

    def _block(self, state: LiveState, new: Open) -> tuple[LiveState, list[Event]]:
        """Tell what a block made of the utterance."""
        state = state._replace(open=state.open.plus(new), blocks=state.blocks + 1)
        now = state.blocks * self.frame_size / self.sample_rate
        state, events = self._close(state, now)
        words = self._words(state.open)
        stable = self._stable(state.open, words)
        event = self._event("partial", words, stable, now)
        before = state.shown, state.stable
        state = state._replace(shown=event.text, stable=stable)
        changed = (event.text, stable) != before
        return state, [*events, event] if words and changed else events

    def _close(self, state: LiveState, now: float) -> tuple[LiveState, list[Event]]:
        """Close the words that will not change, if the first token is old."""
        said = state.open
        if not said.ids.shape[1] or now - float(said.times[0, 0, 0]) < self.config.close_seconds:
            return state, []
        words = self._words(said)
        # A word that never ends is cut.
        stable = self._stable(said, words) or len(words)
        count = words[stable - 1].last if stable < len(words) else said.ids.shape[1]
        state = state._replace(open=said.without(count), shown="", stable=0)
        words = words[:stable]
        return state, [self._event("final", words, stable, now)] if words else []

    def _words(self, said: Open, end: float = math.inf) -> "list[_Spoken]":
        ids, sure = said.ids[0].tolist(), said.probabilities[0].tolist()
        times = said.times[0].tolist()
        return [
            _Spoken(
                EventWord(
                    text=word.text,
                    start=times[word.first][0],
                    end=word_end(times, word.last, self.model.config.reach, end),
                    confidence=sum(sure[word.first : word.last]) / (word.last - word.first),
                ),
                tuple(ids[word.first : word.last]),
                word.last,
            )
            for word in self.model.tokenizer.words(ids)
        ]

    def _stable(self, said: Open, words: "Sequence[_Spoken]") -> int:
        """Return how many words are complete."""
        if words and self.model.tokenizer.goes_on(int(said.ids[0, -1])):
            return len(words) - 1
        return len(words)

    def _event(self, kind: EventType, words: "Sequence[_Spoken]", stable: int, now: float) -> Event:
        return Event(
            type=kind,
            text=self.model.tokenizer.decode([i for word in words for i in word.ids]),
            start=words[0].shown.start if words else now,
            end=words[-1].shown.end if words else now,
            words=tuple(word.shown for word in words),
            stable=stable,
            audio_time=now,
        )


class _Spoken(NamedTuple):
    """A word, its tokens, and how many tokens there are up to its end."""

    shown: EventWord
    ids: tuple[int, ...]
    last: int


def _opened(ids: list[int], probabilities: list[float], times: list[list[float]]) -> Open:
    return Open(
        torch.tensor([ids], dtype=torch.int64),
        torch.tensor([probabilities], dtype=torch.float32),
        torch.tensor(times, dtype=torch.float64).reshape(1, -1, 2),
    )

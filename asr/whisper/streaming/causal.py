"""Live recognition with a causal Whisper: every sound is heard once, every word said soon.

After each block the decoder checks what it said last and goes on from there; what has been said for
`hold_seconds` is frozen, with its keys and values, so a block costs the same at any time. An
utterance that is longer than the model has positions moves to a new window, which begins at a word
that was said: its sound and its text are the first of the new window, so nothing is lost or said
twice at the seam.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.language_adapter import check_language
from echoic.asr.whisper.model import FRAMES_PER_SECOND, SAMPLE_RATE, SAMPLES_PER_FRAME, WhisperModel
from echoic.asr.whisper.streaming.blocks import SECONDS_PER_FRAME
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.engines import Engines
from echoic.asr.whisper.streaming.listener import Listener
from echoic.asr.whisper.streaming.lora_bank import NO_ADAPTER
from echoic.asr.whisper.streaming.saying import Speaker, Text
from echoic.asr.whisper.streaming.times import SpokenWord, spoken_words
from echoic.asr.whisper.streaming.window import LOOKAHEAD, Window
from echoic.streaming.events import Event, EventType
from echoic.streaming.work import Work, alone

# Sound before the word that begins a window, so that nothing of it is cut off.
ANCHOR_MARGIN = 0.12


class CausalState(NamedTuple):
    """What a live utterance is remembered by.

    Attributes:
        pending: (1, n) samples that do not make a block yet.
        window: the sound.
        text: what was said in the window and is in no final.
        settled: float64 (n, 2), begin and end of the stable words, which change no more.
        closed: where the last word of a final ends, in seconds.
        shown: text of the last event.
        adapter: int64 (1,), stamp of the LoRA adapter that it is heard with; 0 for none.
    """

    pending: Tensor
    window: Window
    text: Text
    settled: Tensor
    closed: float
    shown: str
    adapter: Tensor


class CausalWhisper:
    """A recogniser of one live utterance; see `echoic.streaming.recognizer.Recognizer`.

    The state grows to `max_window_seconds` of sound and then begins anew.

    Attributes:
        engines: hear and read, for all who share them; their `bank` holds LoRA adapters.
        adapter: name of the one that it hears with; None for none.

    Args:
        model: a Whisper with a causal adapter merged in, turned to inference.
        config: how to stream.
        engines: hear and read, for others too; None for some of its own.

    Raises:
        ValueError: a language that the model does not know, or has no adapter of where it has some,
            or a longer window than it hears.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        model: WhisperModel,
        config: CausalConfig | None = None,
        *,
        engines: Engines | None = None,
    ) -> None:
        self.model = model
        self.engines = Engines.of(model) if engines is None else engines
        self.config = CausalConfig() if config is None else config
        blocks = self.config.blocks
        longest = self.config.max_window_seconds + blocks.seconds
        if longest > model.max_window_seconds:
            raise ValueError(
                f"max_window_seconds {self.config.max_window_seconds:g} and a block make "
                f"{longest:g} s; this model hears {model.max_window_seconds:g} s at once"
            )
        self.frame_size = blocks.size * SAMPLES_PER_FRAME
        ahead = max(0, blocks.first_size - blocks.size)
        self.lookahead = LOOKAHEAD + ahead * SAMPLES_PER_FRAME
        self._speaker = Speaker(model, self.config, self.engines.read)
        language = self._speaker.language
        check_language(model, language)
        self._listener = Listener(
            model, blocks, self.config.initial_max, language, self.engines.hear
        )
        self.adapter: str | None = None
        self._stamp = NO_ADAPTER

    def with_adapter(self, name: str | None) -> "CausalWhisper":
        """Return a recogniser that hears and reads with a LoRA adapter of `engines.bank`.

        It shares all else with this one, so it costs nothing, and streams of both are heard in one
        batch. When the adapter is dropped, its streams end at their next block, by an error.

        Args:
            name: of the adapter; None for none.

        Raises:
            ValueError: there is none of this name.
        """
        stamp = NO_ADAPTER if name is None else self.engines.bank.stamp(name)
        other = copy.copy(self)
        other.adapter, other._stamp = name, stamp
        other._listener = self._listener.adapted(stamp)
        other._speaker = self._speaker.adapted(stamp)
        return other

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> CausalState:
        """Return the state of an utterance that has not begun; it lives where the model does.

        Raises:
            ValueError: more than one stream.
        """
        del device, dtype
        if batch_size != 1:
            raise ValueError(f"{batch_size} streams, expected 1: give each a state of its own")
        window, text = self._listener.open(), self._speaker.open()
        adapter = torch.tensor([self._stamp])
        return CausalState(torch.empty(1, 0), window, text, _times(()), 0.0, "", adapter)

    def step(self, state: CausalState, wav: Tensor) -> tuple[CausalState, list[Event]]:
        """Hear samples (1, T), any number of them; say something after each block.

        Raises:
            ValueError: sound of another shape, a state that another adapter made, or the adapter is
                not there any more.
        """
        return alone(self.stepping(state, wav))

    def finish(self, state: CausalState) -> tuple[CausalState, list[Event]]:
        """End the utterance: hear what is left and a little silence, and say the last word."""
        return alone(self.finishing(state))

    def compact(self, state: CausalState) -> CausalState:
        """Return a state to be kept, a tenth as large; the next step hears its sound again.

        What follows is the same, to the last bit where it is the same in any company.
        """
        return state._replace(window=self._listener.compact(state.window))

    @torch.inference_mode()
    def stepping(self, state: CausalState, wav: Tensor) -> Work[tuple[CausalState, list[Event]]]:
        """`step` as work that may have company."""
        if wav.dim() != 2 or wav.shape[0] != 1:
            raise ValueError(f"sound of shape {tuple(wav.shape)}, expected (1, T): mix it to mono")
        if int(state.adapter) != self._stamp:
            raise ValueError(
                "the state is of a stream with another adapter: go on with the recogniser it had"
            )
        if state.window.is_compact:
            window = yield from self._listener.whole(state.window)
            state = state._replace(window=window)
        sound = torch.cat([state.pending, wav.float().cpu()], dim=1)
        events: list[Event] = []
        while sound.shape[1] >= (wanted := self._listener.wanted(state.window)):
            state, new = yield from self._block(state, sound[:, :wanted])
            events += new
            sound = sound[:, wanted:]
        return state._replace(pending=sound.clone()), events

    @torch.inference_mode()
    def finishing(self, state: CausalState) -> Work[tuple[CausalState, list[Event]]]:
        """`finish` as work that may have company."""
        heard = state.window.start + state.window.wav.shape[1] + state.pending.shape[1]
        if not heard:
            return self.initial_state(), []
        state, events = yield from self.stepping(state, _silence(self.config.flush_seconds))
        missing = self._listener.wanted(state.window) - state.pending.shape[1]
        state, more = yield from self.stepping(state, torch.zeros(1, missing))
        events = [event for event in (*events, *more) if event.type == "final"]
        end = heard / SAMPLE_RATE
        words = self._words(state)
        if words:
            events.append(_event("final", words, len(words), end))
        return self.initial_state(), [_until(event, end) for event in events]

    def _block(self, state: CausalState, wav: Tensor) -> Work[tuple[CausalState, list[Event]]]:
        window = yield from self._listener.hearing(state.window, wav)
        text = yield from self._speaker.saying(state.text, window)
        state = state._replace(window=window, text=text)
        state, events = self._show(state)
        if window.frames >= self.config.max_window_seconds * FRAMES_PER_SECOND:
            state, new = yield from self._move(state)
            events += new
        return state, events

    def _show(self, state: CausalState) -> tuple[CausalState, list[Event]]:
        """Return a partial where the text or its stable part has changed."""
        words = self._words(state)
        stable = self._stable(state, words)
        before = state.shown, len(state.settled)
        shown = max(stable, self._presentable(state, words))
        event = _event("partial", words[:shown], stable, state.window.heard)
        state = state._replace(settled=_times(words[:stable]), shown=event.text)
        return state, [event] if (event.text, stable) != before else []

    def _words(self, state: CausalState) -> list[SpokenWord]:
        return spoken_words(
            self.model.tokenizer,
            state.text.frozen.join(state.text.tail),
            language=self._speaker.language,
            after=state.closed,
            # Once more is known of what follows them, they are not timed anew.
            settled=state.settled.tolist(),
        )

    def _presentable(self, state: CausalState, words: Sequence[SpokenWord]) -> int:
        """Return how many words to show: without the last ones that are new and doubtful."""
        said = torch.cat([state.text.frozen.said, state.text.tail.said], dim=1)[0]
        count, tokens = len(words), len(said)
        while count:
            word = words[count - 1]
            new = float(said[tokens - 1]) >= state.window.heard - 1e-6
            if not new or word.shown.confidence >= self.config.show_confidence:
                break
            count, tokens = count - 1, tokens - word.length
        return count

    def _stable(self, state: CausalState, words: Sequence[SpokenWord]) -> int:
        """Return how many words are frozen to their end, and known to have ended."""
        frozen = state.text.frozen.length
        count = 0
        for word in words:
            frozen -= word.length
            if frozen < 0 or (frozen == 0 and (word.is_marks or not state.text.sealed)):
                break
            count += 1
        return count

    def _move(self, state: CausalState) -> Work[tuple[CausalState, list[Event]]]:
        """Go on in a new window; what lies before it is final."""
        words = self._words(state)
        kept, start = self._anchor(state, words)
        sample = max(state.window.start, round(start * SAMPLE_RATE))
        window = yield from self._listener.again(state.window, sample)
        first = sum(word.length for word in words[:kept])
        text = yield from self._speaker.continuing(state.text, window, first)
        settled, now = state.settled[kept:].clone(), state.window.heard
        shown = max(len(state.settled), self._presentable(state, words))
        partial = _event("partial", words[kept:shown], len(settled), now)
        state = state._replace(window=window, text=text, settled=settled, shown=partial.text)
        if not kept:
            return state, []
        state = state._replace(closed=words[kept - 1].shown.end)
        final = _event("final", words[:kept], kept, now)
        return state, [final, partial] if partial.words else [final]

    def _anchor(self, state: CausalState, words: Sequence[SpokenWord]) -> tuple[int, float]:
        """Return how many words to close, and the second at which the new window begins.

        It begins at a word that is still open, so that what it hears and what it has said are the
        same; only stable words can be closed.
        """
        config, now = self.config, state.window.heard
        earliest = now - config.keep_seconds
        stable = len(state.settled)
        kept = next((i for i in range(stable) if words[i].shown.start >= earliest), stable)
        if kept < len(words):
            start = words[kept].shown.start - ANCHOR_MARGIN
            start = max(start, words[kept - 1].shown.start if kept else 0.0)
        else:
            start = max(earliest, words[-1].shown.end if words else 0.0)
        # Never more than was asked for and what may still be mended, nor less than a first block.
        blocks = config.blocks
        start = max(start, earliest - config.hold_seconds - blocks.seconds)
        return kept, min(start, now - blocks.first_size * SECONDS_PER_FRAME)


def _event(kind: EventType, words: Sequence[SpokenWord], stable: int, now: float) -> Event:
    return Event(
        type=kind,
        text="".join(word.spelled for word in words).strip(),
        start=words[0].shown.start if words else now,
        end=words[-1].shown.end if words else now,
        words=tuple(word.shown for word in words),
        stable=stable,
        audio_time=now,
    )


def _times(words: Sequence[SpokenWord]) -> Tensor:
    times = [[word.shown.start, word.shown.end] for word in words]
    return torch.tensor(times, dtype=torch.float64).reshape(-1, 2)


def _until(event: Event, end: float) -> Event:
    """Bound an event by the end of the sound: the silence after it was ours."""
    words = tuple(replace(w, start=min(w.start, end), end=min(w.end, end)) for w in event.words)
    return replace(
        event,
        words=words,
        start=min(event.start, end),
        end=min(event.end, end),
        audio_time=min(event.audio_time, end),
    )


def _silence(seconds: float) -> Tensor:
    return torch.zeros(1, round(seconds * SAMPLE_RATE))

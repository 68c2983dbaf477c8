"""What the policies for un-tuned models have in common: a bounded buffer that is heard anew.

Whisper's encoder looks both ways, so every block of sound changes all it heard: the buffer is
encoded again for each block, followed by silence that costs little (`WhisperModel.encode`), and
text goes on from what was committed. Policies differ in what they commit, and when.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from echoic.asr.languages import language_code
from echoic.asr.options import Task
from echoic.asr.whisper.language_adapter import check_language
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.streaming.buffer import BufferState
from echoic.asr.whisper.streaming.continuation import (
    ContinuationDecoder,
    Heard,
    Reading,
    Step,
)
from echoic.asr.whisper.streaming.seam import Cut
from echoic.asr.whisper.streaming.tail import believable, believable_tokens, shifted, timed_tail
from echoic.asr.whisper.streaming.trimming import WORDLESS_LEFT, Trimmer
from echoic.asr.whisper.word_times import TimedWord
from echoic.streaming.events import Event, EventWord

# A language is settled when it is this likely, or when so much has been heard.
SURE_OF_LANGUAGE = 0.9
LANGUAGE_SECONDS = 3.0
# Both together, with nothing committed: nobody speaks. Whisper's own rule for whole windows asks
# for a log probability below -1, which lets its "you" of digital silence pass. Measured in tiny.en:
# no_speech is above 0.89 in silence and below 0.21 in the first second of a hundred sentences.
NO_SPEECH_THRESHOLD = 0.6
SILENT_LOGPROB = -0.5


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What every policy is asked.

    Attributes:
        chunk_ms: the sound is heard in blocks of so many milliseconds.
        language: code or name; None lets a multilingual model find out from the first seconds.
        task: "transcribe", or "translate" into English.
        trim_seconds: from here on, the buffer is cut behind a committed word.
        max_seconds: here it is cut whatever was committed.
        history_tokens: tokens of text before the buffer that the decoder is told; about four
            characters each.
    """

    chunk_ms: int = 1000
    language: str | None = None
    task: Task = "transcribe"
    trim_seconds: float = 15.0
    max_seconds: float = 25.0
    history_tokens: int = 48

    def __post_init__(self) -> None:
        if not 20 <= self.chunk_ms <= 10_000:
            raise ValueError(f"chunk_ms is {self.chunk_ms}; give 20 to 10000 milliseconds")
        if self.task not in ("transcribe", "translate"):
            raise ValueError(f"task is {self.task!r}; it must be transcribe or translate")
        if not WORDLESS_LEFT < self.trim_seconds <= self.max_seconds:
            raise ValueError(
                f"trim_seconds is {self.trim_seconds} and max_seconds {self.max_seconds}; "
                f"expected {WORDLESS_LEFT} < trim_seconds <= max_seconds"
            )
        if not 0 <= self.history_tokens <= 200:
            raise ValueError(f"history_tokens is {self.history_tokens}; give 0 to 200")


class Decision(NamedTuple):
    """What a policy made of a block.

    Attributes:
        words: behind the committed ones, with times in seconds of the buffer.
        commit: how many first words will not change any more.
        agreed: of each word, in how many decodings in a row it was heard.
    """

    words: list[TimedWord]
    commit: int
    agreed: list[int]


class BufferPolicy(ABC):
    """A recogniser of one utterance for any Whisper; see `echoic.streaming.recognizer.Recognizer`.

    Attributes:
        sample_rate: Hz.
        frame_size: samples of a block.
        lookahead: 0; a block is answered when its last sample is there.
    """

    def __init__(self, model: WhisperModel, config: PolicyConfig, *, beam_size: int = 1) -> None:
        longest = config.max_seconds + config.chunk_ms / 1000
        if longest > model.max_window_seconds:
            raise ValueError(
                f"max_seconds {config.max_seconds} and a chunk make {longest:g} s; this model "
                f"hears {model.max_window_seconds:g} s at once: lower max_seconds"
            )
        self.model = model
        self.sample_rate = SAMPLE_RATE
        self.frame_size = SAMPLE_RATE * config.chunk_ms // 1000
        self.lookahead = 0
        self._config = config
        self._language = self._known_language(config.language)
        check_language(model, self._language or None)
        self._trimmer = Trimmer(
            model.tokenizer, config.trim_seconds, config.max_seconds, config.history_tokens
        )
        self._decoder = ContinuationDecoder(model, task=config.task, beam_size=beam_size)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> BufferState:
        """Return the state of a stream that has heard nothing.

        Raises:
            ValueError: more than one stream, or another type than float32.
        """
        if batch_size != 1 or dtype != torch.float32:
            raise ValueError(
                f"{batch_size} streams of {dtype}, expected 1 of float32: buffers differ in "
                "length, so give each stream a state of its own"
            )
        return replace(BufferState.empty(device=device), language=self._language)

    @torch.no_grad()
    def step(self, state: BufferState, wav: Tensor) -> tuple[BufferState, list[Event]]:
        """Hear any number of samples (1, T); answer every block that is complete.

        Raises:
            ValueError: sound of another shape.
        """
        if wav.dim() != 2 or wav.shape[0] != 1:
            raise ValueError(f"sound of shape {tuple(wav.shape)}, expected (1, T): mix it to mono")
        sound = torch.cat([state.pending, wav.to(state.pending)], dim=1)
        events: list[Event] = []
        whole = sound.shape[1] // self.frame_size * self.frame_size
        for start in range(0, whole, self.frame_size):
            block = sound[:, start : start + self.frame_size]
            state, new = self._hear(state, block, last=False)
            events += new
        return replace(state, pending=sound[:, whole:].clone()), events

    @torch.no_grad()
    def finish(self, state: BufferState) -> tuple[BufferState, list[Event]]:
        """Hear what is left of a block, and close all words."""
        block = state.pending
        state = replace(state, pending=block[:, :0].clone())
        if not state.sound.shape[1] + block.shape[1]:
            return state, []
        return self._hear(state, block, last=True)

    @abstractmethod
    def _decide(self, state: BufferState, heard: Heard, *, last: bool) -> Decision:
        """Decode a buffer; the draft and the committed words are those before its last block."""

    def _read(self, state: BufferState, heard: Heard) -> Reading:
        fresh = state.heard - max(state.said_until, state.start / SAMPLE_RATE)
        return self._decoder.read(
            heard,
            language=state.language or None,
            history=state.history[0].tolist(),
            committed=state.committed.ids(),
            draft=state.draft.ids(),
            budget=believable_tokens(fresh) + 1,  # the last one only ends the answer
        )

    def _words(
        self, state: BufferState, heard: Heard, reading: Reading, steps: Sequence[Step]
    ) -> list[TimedWord]:
        """Return the words that were heard behind the committed ones and can be believed.

        Args:
            state: the buffer.
            heard: its sound.
            reading: its decoding.
            steps: taken of it; the token of the last one is not part of the text.

        Returns:
            Words with times in seconds of the buffer.
        """
        if self._is_silence(state, reading, steps):
            return []
        words = timed_tail(
            self.model.tokenizer,
            heard,
            reading,
            steps,
            num_committed=state.committed.tokens.shape[1],
            language=state.language or None,
        )
        words = self._trimmer.without_remnant(state, words)
        since = max(0.0, state.said_until - state.start / SAMPLE_RATE)
        return list(words[: believable(words, since)])

    def _is_silence(self, state: BufferState, reading: Reading, steps: Sequence[Step]) -> bool:
        """Tell silence, as far as nothing was committed that says otherwise."""
        unlikely = sum(step.logprob for step in steps) < SILENT_LOGPROB * len(steps)
        silent = reading.no_speech > NO_SPEECH_THRESHOLD
        return not state.committed.num_words and silent and unlikely

    def _hear(
        self, before: BufferState, block: Tensor, *, last: bool
    ) -> tuple[BufferState, list[Event]]:
        state = before.appended(block)
        heard = self._decoder.listen(state.sound[0], state.language)
        language, settled = self._language_of(state, heard)
        if language != state.language and self.model.adapters_of([language]) is not None:
            heard = self._decoder.listen(state.sound[0], language)
        state = replace(state, language=language)
        found = self._decide(state, heard, last=last)
        state = self._take(state, found, commit=settled or last)
        state = replace(state, language=language if settled else "")
        if last:
            end = state.sound.shape[1]
            state, closed = self._trimmer.close(state, Cut(state.committed.num_words, end))
            return state, [self._final(closed, state)] if closed else []
        state, closed = self._trimmer.trim(state)
        events = [self._final(closed, state)] if closed else []
        # After a final, nobody need be told that no word is open.
        anything_open = state.committed.num_words + state.draft.num_words > 0
        if (closed and anything_open) or (not closed and _shown(before) != _shown(state)):
            events.append(self._partial(state))
        return state, events

    def _take(self, state: BufferState, found: Decision, *, commit: bool) -> BufferState:
        """Follow a decision, on the utterance's clock."""
        words = shifted(found.words, state.start / SAMPLE_RATE, earliest=state.said_until)
        count = found.commit if commit else 0
        state = replace(state, committed=state.committed.extended(words[:count]))
        state = state.with_draft(words[count:], found.agreed[count:])
        return replace(state, said_until=max(state.said_until, state.committed.end or 0.0))

    def _language_of(self, state: BufferState, heard: Heard) -> tuple[str, bool]:
        """Return the language to decode in ("" for English only), and whether it is settled."""
        if state.language or not self.model.generation.lang_to_id:
            return state.language, True
        language, probability = self._decoder.detect_language(heard)
        return language, probability >= SURE_OF_LANGUAGE or heard.seconds >= LANGUAGE_SECONDS

    def _known_language(self, language: str | None) -> str:
        """Return the code of the language that was asked for; "" for none or English only."""
        multilingual = bool(self.model.generation.lang_to_id)
        if language is None:
            return ""
        code = language_code(language)
        if not multilingual and code != "en":
            raise ValueError(f"language is {language!r}, but this model knows English only")
        if multilingual:
            self.model.tokenizer.language_id(code)
        return code if multilingual else ""

    def _final(self, words: Sequence[TimedWord], state: BufferState) -> Event:
        return _event("final", words, len(words), state)

    def _partial(self, state: BufferState) -> Event:
        tokenizer = self.model.tokenizer
        words = [*state.committed.timed(tokenizer), *state.draft.timed(tokenizer)]
        return _event("partial", words, state.committed.num_words, state)


def _event(
    kind: Literal["partial", "final"], words: Sequence[TimedWord], stable: int, state: BufferState
) -> Event:
    return Event(
        type=kind,
        text="".join(word.text for word in words).strip(),
        start=words[0].start if words else state.said_until,
        end=words[-1].end if words else state.said_until,
        words=tuple(
            EventWord(word.text.strip(), word.start, word.end, word.probability) for word in words
        ),
        stable=stable,
        audio_time=state.heard,
    )


def _shown(state: BufferState) -> tuple[int, list[int]]:
    """Return what a listener sees of a state: it is told again only when that has changed."""
    return state.committed.num_words, [*state.committed.ids(), *state.draft.ids()]

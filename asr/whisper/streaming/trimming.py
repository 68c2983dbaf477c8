"""Keeping a stream's buffer short: closed words become the text that came before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.asr.whisper.streaming.buffer import BufferState
from echoic.asr.whisper.streaming.seam import (
    LONGEST_OVERLAP,
    SHORTEST_LEFT,
    Cut,
    find_cut,
    normalized,
    overlap,
)
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.whisper.word_times import TimedWord

# Sound without words that is kept: a word may have begun.
WORDLESS_LEFT = 5.0
# What a cut leaves of a word ends within this many seconds.
REMNANT_SECONDS = 0.5


class Trimmed(NamedTuple):
    """A shorter buffer, and the words that left it."""

    state: BufferState
    closed: list[TimedWord]


@dataclass(frozen=True, slots=True)
class Trimmer:
    """Cuts buffers.

    Attributes:
        tokenizer: of the model.
        trim_seconds: longest buffer that is left alone.
        max_seconds: longest buffer at all: then words are committed that no policy would.
        history_tokens: most tokens of closed text that are remembered.
    """

    tokenizer: WhisperTokenizer
    trim_seconds: float
    max_seconds: float
    history_tokens: int

    def trim(self, state: BufferState) -> Trimmed:
        """Cut where committed words end, so that sound and text on both sides stay in step.

        As long as words are open, one committed word stays in front of them: decoding goes on
        from it, and what the cut may leave of the word before cannot be heard as another.
        """
        if state.seconds <= self.trim_seconds:
            return Trimmed(state, [])
        cut = self._cut(state, keep_last=state.draft.num_words > 0)
        wordless = not state.committed.num_words and not state.draft.num_words
        if cut is None and (wordless or state.seconds > self.max_seconds):
            state = self._forced(state)
            keep = max(0, state.sound.shape[1] - int(WORDLESS_LEFT * SAMPLE_RATE))
            cut = self._cut(state, keep_last=False) or Cut(state.committed.num_words, keep)
        return self.close(state, cut) if cut else Trimmed(state, [])

    def close(self, state: BufferState, cut: Cut) -> Trimmed:
        """Drop sound, and the words said in it, which move to the history."""
        words = state.committed.timed(self.tokenizer)[: cut.words]
        history = [*state.history[0].tolist(), *(i for word in words for i in word.ids)]
        kept = torch.tensor([self._last_words(history)], dtype=torch.int64)
        left = replace(
            state.cut(cut.sample),
            history=kept.to(state.history.device),
            committed=state.committed.without_first(cut.words),
        )
        return Trimmed(left, words)

    def without_remnant(
        self, state: BufferState, words: Sequence[TimedWord]
    ) -> Sequence[TimedWord]:
        """Drop first words that only repeat, at once, the last closed ones.

        Args:
            state: the buffer.
            words: heard in it behind the committed ones, with times in seconds of the buffer.
        """
        if state.committed.num_words or not state.history.shape[1]:
            return words
        tokens = state.history[0].tolist()
        texts = [
            word.text for word in self.tokenizer.split_to_words(tokens, state.language or "en")
        ]
        said = [text for text in texts if normalized(text)]
        return words[overlap(said[-LONGEST_OVERLAP:], words, limit=REMNANT_SECONDS) :]

    def _cut(self, state: BufferState, *, keep_last: bool) -> Cut | None:
        offset = state.start / SAMPLE_RATE
        words = [
            replace(word, start=word.start - offset, end=word.end - offset)
            for word in state.committed.timed(self.tokenizer)
        ]
        cut = find_cut(words, state.sound[0], keep_last=keep_last)
        left = state.seconds - cut.sample / SAMPLE_RATE if cut else 0.0
        return cut if left <= self.max_seconds else None

    def _forced(self, state: BufferState) -> BufferState:
        """Commit what was heard well before the buffer's end, and forget the rest of the draft."""
        draft = state.draft.timed(self.tokenizer)
        sure = [word for word in draft if word.end <= state.heard - SHORTEST_LEFT]
        said_until = max([state.said_until, *(word.end for word in sure)])
        state = replace(state, committed=state.committed.extended(sure), said_until=said_until)
        return state.with_draft([], [])

    def _last_words(self, tokens: list[int]) -> list[int]:
        """Return the last tokens that the history may hold, from the beginning of a word on."""
        kept = tokens[max(0, len(tokens) - self.history_tokens) :]
        if len(kept) < len(tokens):
            starts = (i for i, token in enumerate(kept) if self._begins_word(token))
            kept = kept[next(starts, 0) :]
        return kept

    def _begins_word(self, token: int) -> bool:
        return self.tokenizer.token_bytes(token).startswith(b" ")

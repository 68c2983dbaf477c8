"""What a policy for an un-tuned model remembers of its stream: recent sound and recent words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.whisper.word_times import TimedWord


class Words(NamedTuple):
    """Words as tensors, one stream: M tokens that spell W words.

    Attributes:
        tokens: int64 (1, M).
        sizes: int64 (1, W), tokens of each word.
        times: float64 (1, W, 2), start and end in seconds of the utterance.
        confidences: float32 (1, W).
    """

    tokens: Tensor
    sizes: Tensor
    times: Tensor
    confidences: Tensor

    @classmethod
    def of(cls, words: Sequence[TimedWord], *, device: torch.device | str | None = None) -> "Words":
        """Return words, with times in seconds of the utterance, as tensors."""
        tokens = [i for word in words for i in word.ids]
        times = [[word.start, word.end] for word in words]
        return cls(
            torch.tensor([tokens], dtype=torch.int64, device=device),
            torch.tensor([[len(word.ids) for word in words]], dtype=torch.int64, device=device),
            torch.tensor(times, dtype=torch.float64, device=device).reshape(1, -1, 2),
            torch.tensor([[word.probability for word in words]], device=device),
        )

    @property
    def num_words(self) -> int:
        """W, the number of words."""
        return self.sizes.shape[1]

    def ids(self) -> list[int]:
        """Return the tokens."""
        return self.tokens[0].tolist()

    def timed(self, tokenizer: WhisperTokenizer) -> list[TimedWord]:
        """Return the words with their text."""
        ids, at, words = self.ids(), 0, []
        rows = zip(
            self.sizes[0].tolist(),
            self.times[0].tolist(),
            self.confidences[0].tolist(),
            strict=True,
        )
        for size, (start, end), confidence in rows:
            spelled = tuple(ids[at : at + size])
            at += size
            words.append(TimedWord(tokenizer.decode(spelled), spelled, start, end, confidence))
        return words

    def extended(self, words: Sequence[TimedWord]) -> "Words":
        """Return these words and others behind them."""
        new = Words.of(words, device=self.tokens.device)
        return Words(*(torch.cat(pair, dim=1) for pair in zip(self, new, strict=True)))

    def without_first(self, count: int) -> "Words":
        """Return what is left when the first `count` words have gone."""
        tokens = int(self.sizes[0, :count].sum())
        return Words(
            self.tokens[:, tokens:].clone(),
            self.sizes[:, count:].clone(),
            self.times[:, count:].clone(),
            self.confidences[:, count:].clone(),
        )

    @property
    def end(self) -> float | None:
        """Where the last word ends, in seconds of the utterance; None without words."""
        return float(self.times[0, -1, 1]) if self.num_words else None


@dataclass(frozen=True, slots=True)
class BufferState:
    """One stream under a policy; a state tree, bounded by the policy's `max_seconds`.

    Attributes:
        pending: float32 (1, P), samples that do not make a block yet.
        sound: float32 (1, N), whole blocks not cut away yet.
        start: samples of the utterance before `sound`.
        said_until: where the last committed word ended, in seconds of the utterance.
        language: code, "" as long as it is not settled.
        history: int64 (1, K), tokens of words whose sound was cut away.
        committed: words that will not change, spoken in `sound`.
        draft: words heard behind them that may change.
        agreed: int64 (1, D), for each word of the draft, how many decodings in a row agreed on all
            up to it.
    """

    pending: Tensor
    sound: Tensor
    start: int
    said_until: float
    language: str
    history: Tensor
    committed: Words
    draft: Words
    agreed: Tensor

    @classmethod
    def empty(cls, *, device: torch.device | str | None = None) -> "BufferState":
        """Return the state of a stream that has heard nothing."""
        no_sound = torch.zeros(1, 0, device=device)
        no_tokens = torch.zeros(1, 0, dtype=torch.int64, device=device)
        none = Words.of([], device=device)
        return cls(no_sound, no_sound, 0, 0.0, "", no_tokens, none, none, no_tokens)

    @property
    def heard(self) -> float:
        """Seconds of the utterance up to the end of `sound`."""
        return (self.start + self.sound.shape[1]) / SAMPLE_RATE

    @property
    def seconds(self) -> float:
        """Length of `sound`."""
        return self.sound.shape[1] / SAMPLE_RATE

    def appended(self, block: Tensor) -> "BufferState":
        """Return the state with a block (1, N) of sound behind the others."""
        return replace(self, sound=torch.cat([self.sound, block], dim=1))

    def cut(self, sample: int) -> "BufferState":
        """Return the state without the sound before a sample of the buffer."""
        return replace(self, sound=self.sound[:, sample:].clone(), start=self.start + sample)

    def with_draft(self, words: Sequence[TimedWord], agreed: Sequence[int]) -> "BufferState":
        """Return the state with another draft and its counts of agreement."""
        device = self.sound.device
        return replace(
            self,
            draft=Words.of(words, device=device),
            agreed=torch.tensor([list(agreed)], dtype=torch.int64, device=device),
        )

"""What a search is asked and what it answers."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.cache import DecoderCache
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.rules import TokenRules


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One decoding of one window.

    Attributes:
        tokens: text and times, without the end of text.
        sum_logprob: of these tokens and the end of text, at temperature 1.
        no_speech_prob: probability of silence, before the first token.
        complete: whether it ended by itself, not by the budget or in a loop.
    """

    tokens: tuple[int, ...]
    sum_logprob: float
    no_speech_prob: float
    complete: bool

    @property
    def avg_logprob(self) -> float:
        """Mean log probability of the tokens and the end of text."""
        return self.sum_logprob / (len(self.tokens) + 1)


class SearchTask(NamedTuple):
    """A batch of windows to decode.

    Attributes:
        decoder: the network.
        cache: keys and values of the windows' sound, no tokens yet.
        prompts: int64 (B, P), from the earlier text to the last token before the answer.
        rules: what may come next.
        time_limits: int64 (B,), number of time tokens inside each window.
        budgets: most tokens of each window's answer.
        no_speech: id whose probability tells silence, and `start` the id it is read at.
        start: id of the start of transcript.
        end: id of the end of text.
    """

    decoder: Decoder
    cache: DecoderCache
    prompts: Tensor
    rules: TokenRules
    time_limits: Tensor
    budgets: list[int]
    no_speech: int
    start: int
    end: int

    def prefill(self) -> tuple[Tensor, Tensor]:
        """Run the prompts.

        Returns:
            Scores of the first token (B, vocab_size), and the probability of silence (B,).
        """
        hidden = self.decoder(self.prompts, self.cache)
        at = int((self.prompts[0] == self.start).nonzero()[-1])
        silence = self.decoder.logits(hidden[:, at]).softmax(-1)[:, self.no_speech]
        return self.decoder.logits(hidden[:, -1]), silence


def capacity(prompt_length: int, budgets: list[int]) -> int:
    """Return the tokens that a cache must hold for such a search."""
    return prompt_length + max(budgets) + 1


def as_index(rows: list[int], device: torch.device) -> Tensor:
    """Return row numbers as an index tensor."""
    return torch.tensor(rows, dtype=torch.int64, device=device)

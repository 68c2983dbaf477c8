"""What may come next: suppressed symbols and the grammar of time tokens.

Whisper's time tokens come in pairs around each segment and never go back (Radford et al. 2022,
section 3.3, and the decoding rules of appendix D). All rows of a batch are treated at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.asr.whisper.config import GenerationConfig

SECONDS_PER_TIMESTAMP = 0.02


@dataclass(slots=True)
class RowHistory:
    """What the rules need to know of each row's past, all of shape (R,).

    Attributes:
        last_is_time: whether the newest token is a time.
        previous_is_time: whether the one before it is, or there is none.
        latest_time: index of the newest time token, -1 before the first.
    """

    last_is_time: Tensor
    previous_is_time: Tensor
    latest_time: Tensor

    @classmethod
    def start(cls, rows: int, device: torch.device) -> "RowHistory":
        """The state before the first token."""
        return cls(
            last_is_time=torch.zeros(rows, dtype=torch.bool, device=device),
            previous_is_time=torch.ones(rows, dtype=torch.bool, device=device),
            latest_time=torch.full((rows,), -1, device=device),
        )

    def select(self, rows: Tensor) -> "RowHistory":
        """Return the history of some rows, or of reordered ones."""
        return RowHistory(
            self.last_is_time[rows], self.previous_is_time[rows], self.latest_time[rows]
        )


class TokenRules:
    """Masks the scores of tokens that may not come next, in place."""

    def __init__(
        self,
        generation: GenerationConfig,
        vocab_size: int,
        *,
        timestamps: bool,
        device: torch.device,
    ) -> None:
        self.timestamps = timestamps
        self._eot = generation.eos_token_id
        self._first_time = generation.no_timestamps_token_id + 1
        self._max_initial = generation.max_initial_timestamp_index
        never = {*generation.suppress_tokens, *range(self._eot + 1, self._first_time)}
        if not timestamps:
            never |= set(range(self._first_time, vocab_size))
        self._never = torch.zeros(vocab_size, device=device)
        self._never[sorted(never)] = -torch.inf
        self._not_first = list(generation.begin_suppress_tokens)

    def apply(
        self, scores: Tensor, history: RowHistory, time_limits: Tensor, *, first: bool
    ) -> None:
        """Set the scores of forbidden tokens to -inf.

        Args:
            scores: (R, vocab_size) float32, changed in place.
            history: of each row.
            time_limits: int64 (R,), number of time tokens that lie inside each row's window.
            first: whether these are scores of the first token after the prompt.
        """
        scores += self._never
        if first:
            scores[:, self._not_first] = -torch.inf
        if self.timestamps:
            self._apply_times(scores, history, time_limits, first=first)

    def advance(self, history: RowHistory, tokens: Tensor, *, first: bool) -> None:
        """Note the tokens (R,) that were chosen."""
        is_time = tokens >= self._first_time
        history.previous_is_time = is_time.new_ones(len(tokens)) if first else history.last_is_time
        history.last_is_time = is_time
        times = tokens - self._first_time
        history.latest_time = torch.where(is_time, times, history.latest_time)

    def _apply_times(
        self, scores: Tensor, history: RowHistory, time_limits: Tensor, *, first: bool
    ) -> None:
        times = scores[:, self._first_time :]
        index = torch.arange(times.shape[1], device=scores.device)
        opened = history.last_is_time & history.previous_is_time  # text must follow
        closed = history.last_is_time & ~history.previous_is_time  # a time or the end must follow
        lowest = torch.where(closed, history.latest_time, history.latest_time + 1)
        forbidden = (index < lowest[:, None]) | (index >= time_limits[:, None]) | opened[:, None]
        if first:
            scores[:, : self._first_time] = -torch.inf
            forbidden |= index > self._max_initial
        times.masked_fill_(forbidden, -torch.inf)
        if bool(closed.any()):
            scores[closed, : self._eot] = -torch.inf
        # When all times together are likelier than the likeliest word, it must be a time.
        text = scores[:, : self._first_time]
        must = times.logsumexp(1) > text.amax(1)
        if bool(must.any()) and not first:
            text[must] = -torch.inf

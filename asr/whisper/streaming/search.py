"""What to say after a block: the last hypothesis is checked in one pass, its tail said anew.

Checking is lossless: a token stays while it is what greedy decoding would say there, so the result
is that of decoding the tail token by token. The paper's rule (Krichli et al. 2025, section 3.4)
is kinder to what was said: a token also stays when its score did not fall since the block before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.streaming.decoder import Part, Past
from echoic.asr.whisper.streaming.engines import ReadEngine, Said, Saying
from echoic.asr.whisper.streaming.lora_bank import NO_ADAPTER
from echoic.streaming.layers.key_values import KeyValues
from echoic.streaming.work import Ask, Work

Keep = Literal["likeliest", "not_falling"]


class TailRules(NamedTuple):
    """What may be said.

    Attributes:
        never: float32 (vocab_size,), -inf for tokens that are never said, else 0.
        joins: bool (vocab_size,), True for tokens that go on with the word before them.
        end: id of the end of text, which here says "wait".
    """

    never: Tensor
    joins: Tensor
    end: int


class Tail(NamedTuple):
    """What is said behind the frozen text.

    Attributes:
        tokens: ids.
        scores: raw score of each, for the next block's check.
        probabilities: of each.
        checked: how many tokens of the last hypothesis stayed.
        past: keys and values of all that was read, the tokens of this tail included as far as
            they were read.
        attention: (heads, len(tokens) + 1, T), where the alignment heads looked for each token
            and for what would follow.
        passes: how often the decoder ran.
        mean_logprob: of the tokens and of the end behind them, however likely that was.
    """

    tokens: list[int]
    scores: list[float]
    probabilities: list[float]
    checked: int
    past: Past
    attention: Tensor
    passes: int
    mean_logprob: float

    def shortened(self, length: int) -> "Tail":
        """Return the first tokens only; `past` may hold more."""
        return self._replace(
            tokens=self.tokens[:length],
            scores=self.scores[:length],
            probabilities=self.probabilities[:length],
            attention=self.attention[:, : length + 1],
        )


@dataclass(frozen=True, slots=True)
class TailSearch:
    """Greedy decoding of a tail.

    Attributes:
        engine: reads, for others too.
        rules: what may be said.
        keep: "likeliest" is lossless; "not_falling" is the paper's rule.
        adapter: stamp of the LoRA adapter to read with.
    """

    engine: ReadEngine
    rules: TailRules
    keep: Keep = "likeliest"
    adapter: int = NO_ADAPTER

    def __call__(
        self,
        fed: Sequence[int],
        draft: Sequence[int],
        draft_scores: Sequence[float],
        past: Past,
        sound: Past,
        *,
        sealed: bool,
        budget: int,
        trusted: bool = False,
    ) -> Work[Tail]:
        """Decode what follows.

        Args:
            fed: tokens of the frozen text or the prompt behind `past`, 1 or more; what the last
                of them is followed by is the first token of the tail.
            draft: the last hypothesis of the tail.
            draft_scores: its tokens' scores at the block before.
            past: of the text before `fed`.
            sound: all that was heard.
            sealed: whether the next token must begin a new word.
            budget: new tokens at most.
            trusted: leave the draft as it is.
        """
        reading, logits = yield from self._read([*fed, *draft], past, sound, len(fed) - 1)
        rows = self.scores(logits, sealed=sealed)
        best = rows.argmax(-1).tolist()
        kept = len(draft) if trusted else self._kept(rows, best, draft, draft_scores)
        following = best[kept]
        tokens = list(draft[:kept])
        looks = [reading.attention[0, :, len(fed) - 1 : len(fed) + kept]]
        used = [rows[: kept + 1]]
        past = _first(reading.past, past[0].length + len(fed) + kept)
        passes = 1
        while len(tokens) < kept + budget:
            if following == self.rules.end:
                break
            tokens.append(following)
            reading, logits = yield from self._read([following], past, sound, 0)
            used.append(self.scores(logits, sealed=False))
            following = int(used[-1][-1].argmax())
            looks.append(reading.attention[0])
            past = reading.past
            passes += 1
        scores = torch.cat(used)
        chosen = torch.tensor(tokens, dtype=torch.int64, device=scores.device)[:, None]
        said = scores[: len(tokens)]
        raw = said.gather(1, chosen)[:, 0]
        logprobs = raw - said.logsumexp(-1)
        end = scores[-1, self.rules.end] - scores[-1].logsumexp(-1)
        return Tail(
            tokens,
            raw.tolist(),
            logprobs.exp().tolist(),
            kept,
            past,
            torch.cat(looks, dim=1),
            passes,
            float(logprobs.sum() + end) / (len(tokens) + 1),
        )

    def scores(self, logits: Tensor, *, sealed: bool) -> Tensor:
        """Return what may be said, and how likely: (N, vocab_size) for (1, N, vocab_size)."""
        scores = logits[0].add_(self.rules.never)  # the answer is ours
        if sealed:
            scores[0].masked_fill_(self.rules.joins, -torch.inf)
        return scores

    def _read(self, tokens: Sequence[int], past: Past, sound: Past, first: int) -> Work[Said]:
        ids = torch.tensor([list(tokens)], device=self.rules.never.device)
        return (yield Ask(self.engine, Saying(Part(ids, past, sound), first, self.adapter)))

    def _kept(
        self, rows: Tensor, best: Sequence[int], draft: Sequence[int], before: Sequence[float]
    ) -> int:
        for place, token in enumerate(draft):
            if best[place] == token:
                continue
            if self.keep == "not_falling" and float(rows[place, token]) >= before[place]:
                continue
            return place
        return len(draft)


def _first(past: Past, length: int) -> Past:
    if past[0].length == length:
        return past
    return tuple(KeyValues(p.keys[:, :, :length], p.values[:, :, :length]) for p in past)

"""From scores to tokens: the likeliest, or those that n-grams and hot words make of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.paraformer.fusion import Fusion
from echoic.asr.paraformer.hotwords import Choice, HotWords, likeliest, runs


class ChooserState(NamedTuple):
    """What choosing remembers of the tokens before.

    Attributes:
        words: (B, states) of hot words, see there; without any (B, 0).
        context: (B, order - 1) last tokens, for n-grams; without any (B, 0).
    """

    words: Tensor
    context: Tensor


class Chooser:
    """Chooses the tokens of places that were scored.

    With both, hot words are looked for in scores that the n-grams' best way is part of; where none
    is worth a change, that way stands.

    Args:
        hotwords: to expect.
        fusion: n-grams.
    """

    def __init__(self, hotwords: HotWords | None = None, fusion: Fusion | None = None) -> None:
        self.hotwords = hotwords if hotwords is not None and len(hotwords) else None
        self.fusion = fusion

    def initial_state(self, batch: int, device: torch.device) -> ChooserState:
        """Return the state of utterances that have not begun."""
        words = torch.empty(batch, 0, dtype=torch.float64, device=device)
        context = torch.empty(batch, 0, dtype=torch.int64, device=device)
        if self.hotwords is not None:
            words = self.hotwords.initial_state(batch, device)
        if self.fusion is not None:
            context = self.fusion.start(batch).to(device)
        return ChooserState(words, context)

    def choose(self, logits: Tensor, counts: Tensor) -> Choice:
        """Choose the tokens of whole utterances: logits (B, N, V), of which counts (B,) count."""
        return self.step(self.initial_state(len(logits), logits.device), logits, counts)[1]

    def step(
        self, state: ChooserState, logits: Tensor, counts: Tensor, blocks: Tensor | None = None
    ) -> tuple[ChooserState, Choice]:
        """Choose the tokens that follow others, as if they ended the utterance.

        Arguments and what is returned are those of `HotWords.step`.
        """
        if self.fusion is None:
            if self.hotwords is None:
                return state, likeliest(logits)
            words, best = self.hotwords.step(state.words, logits, counts, blocks)
            return state._replace(words=words), best
        if self.hotwords is None:
            ids = self.fusion(state.context, logits, counts, blocks)
            context = self.fusion.advance(state.context, ids, counts)
            return state._replace(context=context), _chosen(logits, ids)
        return self._both(self.hotwords, self.fusion, state, logits, counts, blocks)

    def _both(
        self,
        hotwords: HotWords,
        fusion: Fusion,
        state: ChooserState,
        logits: Tensor,
        counts: Tensor,
        blocks: Tensor | None,
    ) -> tuple[ChooserState, Choice]:
        ids, words, context = logits.argmax(-1), state.words.clone(), state.context.clone()
        for row, size in enumerate(counts.tolist()):
            mine, at = counts.new_zeros(size), slice(row, row + 1)
            for part in runs(mine if blocks is None else blocks[row, :size]):
                scores, count = logits[at, part], counts.new_tensor([part.stop - part.start])
                seen = fusion(context[at], scores, count)
                scores = fusion.rescored(context[at], scores, seen)
                words[at], best = hotwords.step(words[at], scores, count, None, seen)
                context[at] = fusion.advance(context[at], best.ids, count)
                ids[at, part] = best.ids
        return ChooserState(words, context), _chosen(logits, ids)


def _chosen(logits: Tensor, ids: Tensor) -> Choice:
    """Return tokens with the model's own probabilities of them."""
    shares = logits.float().softmax(-1)
    return Choice(ids, shares.gather(-1, ids[:, :, None])[:, :, 0])

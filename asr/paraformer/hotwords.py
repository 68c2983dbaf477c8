"""Words to expect: where a model is in doubt, those that its user named are preferred.

```python
expected = HotWords.parse("Kubernetes, Anna Karenina=2.5", model.tokenizer)
model.recognize(wav[None], hotwords=expected)[0].text
```

The tokens of an utterance are those with the greatest sum of log probabilities and of the bonuses
of all hot words in them, which `word_tree` finds exactly. A hot word has its bonus for each of its
tokens if it is whole, from the beginning of a word to the end of one; its parts have nothing. How
many tokens there are is the predictor's to say and does not change: a word that was heard with
fewer or more tokens than the hot word has cannot become it.
"""

import logging
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from echoic.asr.paraformer.labels import Style, label_text
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.word_tree import WordTree

log = logging.getLogger(__name__)

# A hot word may be e^1.5, 4.5 times, less likely per token than what would be said without it. That
# mends words that the model nearly said, and leaves what it is sure of.
DEFAULT_BONUS = 1.5

# How texts are written in training, those that change the least first.
_STYLES: tuple[Style, ...] = ("as_is", "words", "english")
_SEPARATORS = re.compile("[,\n\u3001\uff0c]")


class HotWord(NamedTuple):
    """A word or phrase to expect.

    Attributes:
        text: as the model writes it.
        ids: its tokens.
        bonus: nats for each of them.
    """

    text: str
    ids: tuple[int, ...]
    bonus: float


class Choice(NamedTuple):
    """Tokens that were chosen.

    Attributes:
        ids: (B, N) int64.
        probabilities: (B, N) float32, the model's own.
    """

    ids: Tensor
    probabilities: Tensor


def likeliest(logits: Tensor) -> Choice:
    """Choose the likeliest token of each place of logits (B, N, V)."""
    best = logits.float().softmax(-1).max(-1)
    return Choice(best.indices, best.values)


class HotWords:
    """Words and phrases to expect, written in a model's vocabulary.

    A phrase is written as the model's training wrote its texts: as it stands or, if the vocabulary
    has no such characters, in lower case without marks, with numbers spelled. One that cannot be
    written is passed over, which a warning tells.

    Args:
        phrases: one or more words each; "phrase=2.5" gives it a bonus of its own.
        tokenizer: of the model.
        bonus: nats for each token of the other phrases.

    Attributes:
        tokenizer: of the model.
        words: those that can be written.
        passed_over: phrases that cannot.

    Raises:
        ValueError: a bonus that is no number above 0, or a tokenizer that cannot write.
    """

    def __init__(
        self, phrases: Iterable[str], tokenizer: Tokenizer, bonus: float = DEFAULT_BONUS
    ) -> None:
        if tokenizer.marks_beginnings and tokenizer.pieces is None:
            raise ValueError(
                "the model has no bpe.model, which hot words are written with: add the file to "
                "the model's folder, or leave out the hot words"
            )
        if not _is_bonus(bonus):
            raise ValueError(
                f"the bonus of hot words is {bonus}, expected a number above 0, such as "
                f"{DEFAULT_BONUS}"
            )
        words: list[HotWord] = []
        passed_over: list[str] = []
        for phrase in phrases:
            text, own = _weighed(phrase, bonus)
            ids = _write(text, tokenizer)
            if ids:
                words.append(HotWord(tokenizer.decode(ids), ids, own))
            elif text:
                log.warning(
                    "hot word %r is passed over: it cannot be written in the model's vocabulary",
                    text,
                )
                passed_over.append(text)
        self.tokenizer = tokenizer
        self.words, self.passed_over = tuple(words), tuple(passed_over)
        rewards: dict[tuple[int, ...], float] = {}
        for _, ids, own in words:
            rewards[ids] = max(rewards.get(ids, 0.0), own * len(ids))
        self._tree = WordTree(rewards, tokenizer)

    @classmethod
    def parse(cls, text: str, tokenizer: Tokenizer, bonus: float = DEFAULT_BONUS) -> Self:
        """Read phrases that commas or ends of lines part; see the class.

        Raises:
            ValueError: see the class.
        """
        return cls(_SEPARATORS.split(text), tokenizer, bonus)

    def __len__(self) -> int:
        return len(self.words)

    def check(self, tokenizer: Tokenizer) -> None:
        """Check that a model can be told of these words.

        Raises:
            ValueError: its vocabulary is another.
        """
        if tokenizer.tokens != self.tokenizer.tokens:
            raise ValueError(
                "the hot words are written in another model's vocabulary: make them with this "
                "model's tokenizer"
            )

    def initial_state(self, batch_size: int, device: torch.device) -> Tensor:
        """Return the state of utterances that have not begun, (B, states) float64."""
        return torch.tensor(self._tree.initial(), device=device).repeat(batch_size, 1)

    def step(
        self,
        state: Tensor,
        logits: Tensor,
        counts: Tensor,
        blocks: Tensor | None = None,
        otherwise: Tensor | None = None,
    ) -> tuple[Tensor, Choice]:
        """Choose the tokens that follow others.

        They are chosen as if they ended the utterance: what was said before stays, and a hot word
        that began in it can be completed for all of its bonus, but one that may be completed later
        has none yet. A hot word whose next token is not known is taken to end there.

        Args:
            state: behind what was said before.
            logits: (B, N, V).
            counts: (B,) tokens that count; the others are the likeliest.
            blocks: (B, N) which block each belongs to, never falling; blocks are chosen one after
                the other. None for one block.
            otherwise: (B, N) the tokens that stand where no hot word is worth a change; None for
                the likeliest.

        Returns:
            The next state, of the same size, and what was chosen.
        """
        if not self.words:
            return state, likeliest(logits)
        shares = logits.float().softmax(-1)
        greedy = shares.max(-1).indices if otherwise is None else otherwise
        ids, after = greedy.clone(), []
        for row, count in enumerate(counts.tolist()):
            scores = state[row].cpu().numpy()
            mine = greedy.new_zeros(count) if blocks is None else blocks[row, :count]
            for part in runs(mine):
                found = self._tree.search(scores, logits[row, part], greedy[row, part])
                scores = self._tree.advance(scores, found)
                ids[row, part] = ids.new_tensor(found)
            after.append(scores)
        probabilities = shares.gather(-1, ids[:, :, None])[:, :, 0]
        return state.new_tensor(np.array(after)).reshape(state.shape), Choice(ids, probabilities)


def runs(blocks: Tensor) -> Iterator[slice]:
    """Return where blocks (N,) are equal."""
    start = 0
    for size in blocks.unique_consecutive(return_counts=True)[1].tolist():
        yield slice(start, start + size)
        start += size


def _weighed(phrase: str, bonus: float) -> tuple[str, float]:
    """Take the bonus off a phrase, if it has its own."""
    text, mark, number = phrase.partition("=")
    text = " ".join(text.split())
    if not mark:
        return text, bonus
    try:
        own = float(number)
    except ValueError:
        own = math.nan
    if not _is_bonus(own):
        raise ValueError(
            f"hot word {phrase.strip()!r}: expected a number above 0 behind =, such as "
            f"{text or 'word'}={DEFAULT_BONUS}"
        )
    return text, own


def _is_bonus(value: float) -> bool:
    return 0 < value < math.inf


def _write(phrase: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the tokens of a phrase; none if it cannot be written."""
    for style in _STYLES:
        text = label_text(phrase, style)
        ids = tuple(tokenizer.encode(text)) if text else ()
        if ids and all(tokenizer.is_spoken(token) for token in ids):
            return ids
    return ()

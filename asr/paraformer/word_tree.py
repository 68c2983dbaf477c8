"""The search for words in a tree: the best tokens of several places, with rewards for whole words.

The score of tokens is the sum of their log probabilities and of the rewards of the tree's phrases
among them. A phrase counts where it begins at the beginning of a word and ends at the end of one,
or with the last token of all; phrases that count do not overlap, and of all ways to count them the
best is taken. Special and unknown tokens are no text: they count as if they were not there.

The model's tokens are independent of each other, so that Viterbi's search along the states of a
tree finds the very best: no beam, nothing cut off. States are

- `CLOSED`: outside of a phrase, behind a token with which its word ends, and at the beginning;
- `OPEN`: outside, behind a token whose word may go on;
- `DUE`: behind a whole phrase whose last word may go on, and must not;
- one for each node of the tree: within a phrase, whose reward is not there yet.

A place costs a few numpy operations on all states.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoic.asr.paraformer.tokenizer import Tokenizer

Scores = NDArray[np.float64]

CLOSED, OPEN, DUE = 0, 1, 2
_OUTSIDE = 3
# Parent of nodes that need not be at the end of a word, behind the states.
_ANY = -1
# Kinds of tokens: 2 * joins + goes_on for text, and what is no text.
_SILENT = 4
# Taken from all but the likeliest token, so that it stays where others are as good, in nats.
_LEAST = 1e-9


class _Place(NamedTuple):
    """What may be said at a place; gains are nats against the likeliest token.

    Attributes:
        tokens: the best of each kind.
        gains: of these.
        tree: gains of the token of each node.
    """

    tokens: list[int]
    gains: list[float]
    tree: Scores


class _Link(NamedTuple):
    """How the states of a place were reached.

    Attributes:
        outside: for `CLOSED`, `OPEN` and `DUE` the state before and the token; None for the token
            of a node that ends a phrase, which then stands for the state.
        begun: the state outside from which a word began.
        silent: the best token that is no text.
        stayed: (nodes,) whether a node was reached by that.
    """

    outside: list[tuple[int, int | None]]
    begun: int
    silent: int
    stayed: NDArray[np.bool_]


class WordTree:
    """Phrases, their common beginnings shared.

    Args:
        rewards: nats of each phrase, given by its tokens; without a phrase there is no search.
        tokenizer: tells where words begin and end.

    Attributes:
        size: states.
    """

    def __init__(self, rewards: Mapping[tuple[int, ...], float], tokenizer: Tokenizer) -> None:
        nodes: dict[tuple[int, int], int] = {}
        parents: list[int] = []
        tokens: list[int] = []
        whole: dict[int, float] = {}
        for phrase, reward in rewards.items():
            node = CLOSED if tokenizer.joins(phrase[0]) else _ANY
            for token in phrase:
                edge = node, token
                if edge not in nodes:
                    nodes[edge] = _OUTSIDE + len(nodes)
                    parents.append(node)
                    tokens.append(token)
                node = nodes[edge]
            whole[node] = reward
        self.size = _OUTSIDE + len(nodes)
        self._parents = np.array(parents, dtype=np.int64)
        self._tokens = np.array(tokens, dtype=np.int64)
        # Where a phrase leads that ends with a node, and what it brings there.
        self._ends = {to: np.full(len(nodes), -np.inf) for to in (CLOSED, DUE)}
        for node, reward in whole.items():
            at = node - _OUTSIDE
            self._ends[DUE if tokenizer.goes_on(tokens[at]) else CLOSED][at] = reward
        self._kinds = [
            2 * tokenizer.joins(token) + tokenizer.goes_on(token)
            if tokenizer.is_spoken(token)
            else _SILENT
            for token in range(len(tokenizer))
        ]

    def initial(self) -> Scores:
        """Return the scores of the states (size,) where nothing was said."""
        scores = np.full(self.size, -np.inf)
        scores[CLOSED] = 0.0
        return scores

    def search(self, before: Scores, logits: Tensor, likeliest: Tensor) -> list[int]:
        """Return the best tokens of N places.

        Args:
            before: (size,) scores of the states.
            logits: (N, V).
            likeliest: (N,) the token of each place that stands where no phrase is worth a change.
        """
        scores, links = before, []
        for place in self._places(logits, likeliest):
            scores, link = self._step(scores, place)
            links.append(link)
        state, found = int(scores[:_OUTSIDE].argmax()), []
        for link in reversed(links):
            state, token = self._back(link, state)
            found.append(token)
        return found[::-1]

    def advance(self, before: Scores, tokens: Sequence[int]) -> Scores:
        """Return the scores of the states behind tokens that were said, the best outside at 0."""
        scores = before
        for token in tokens:
            scores, _ = self._step(scores, self._only(token))
        return scores - scores[:_OUTSIDE].max()

    def _places(self, logits: Tensor, likeliest: Tensor) -> Iterator[_Place]:
        gains, column = logits.cpu().double(), likeliest.cpu()[:, None]
        gains = (gains - gains.gather(1, column)).clamp(max=-_LEAST).scatter(1, column, 0.0)
        kinds = torch.tensor(self._kinds)
        outside = [(kinds == kind).nonzero()[:, 0] for kind in range(_SILENT + 1)]
        best = [_best(gains, members) for members in outside]
        tokens = torch.stack([part.indices for part in best], dim=1).tolist()
        values = torch.stack([part.values for part in best], dim=1).tolist()
        return map(_Place, tokens, values, gains.numpy()[:, self._tokens])

    def _only(self, token: int) -> _Place:
        kind = self._kinds[token]
        gains = [0.0 if other == kind else -np.inf for other in range(_SILENT + 1)]
        tree = np.where(self._tokens == token, 0.0, -np.inf)
        return _Place([token] * len(gains), gains, tree)

    def _step(self, before: Scores, place: _Place) -> tuple[Scores, _Link]:
        # Only where a phrase has just ended, the next token may not go on with its word.
        free, begun = int(before[:DUE].argmax()), int(before[:_OUTSIDE].argmax())
        silent = place.tokens[_SILENT]
        after = before + place.gains[_SILENT]
        back: list[tuple[int, int | None]] = [(state, silent) for state in range(_OUTSIDE)]
        for kind in range(_SILENT):
            came, to = free if kind >= 2 else begun, OPEN if kind % 2 else CLOSED
            score = before[came] + place.gains[kind]
            if score > after[to]:
                after[to], back[to] = score, (came, place.tokens[kind])
        moved = np.append(before, before[begun])[self._parents] + place.tree
        stayed = after[_OUTSIDE:] > moved
        np.maximum(after[_OUTSIDE:], moved, out=after[_OUTSIDE:])
        for to, rewards in self._ends.items():
            whole = moved + rewards
            at = int(whole.argmax())
            if whole[at] > after[to]:
                after[to], back[to] = whole[at], (_OUTSIDE + at, None)
        return after, _Link(back, begun, silent, stayed)

    def _back(self, link: _Link, state: int) -> tuple[int, int]:
        """Return the state before a place, and the token that led from it to this state."""
        node = state - _OUTSIDE
        if state < _OUTSIDE:
            came, token = link.outside[state]
            if token is not None:
                return came, token
            node = came - _OUTSIDE
        elif link.stayed[node]:
            return state, link.silent
        parent = int(self._parents[node])
        return link.begun if parent == _ANY else parent, int(self._tokens[node])


class _Best(NamedTuple):
    values: Tensor
    indices: Tensor


def _best(gains: Tensor, members: Tensor) -> _Best:
    """Return the best of some tokens at each place of gains (N, V); -inf where there are none."""
    if not len(members):
        return _Best(gains.new_full((len(gains),), -np.inf), members.new_zeros(len(gains)))
    best = gains[:, members].max(1)
    return _Best(best.values, members[best.indices])

"""An n-gram model of tokens: how likely a token is behind those before it.

Estimated as Witten and Bell do (1991): of what follows a context, as much is kept for the unseen as
there were different tokens seen. N-grams that are left out are read by backing off, as in ARPA
files, with weights that make the shares of all tokens 1.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from echoic.asr.errors import CheckpointError

FORMAT = "echoic-ngrams"
VERSION = 1
#: In a context: no token, since the utterance begins here or behind the start.
NOTHING = -1
_NEVER = 1e-9

Array = np.ndarray[Any, np.dtype[Any]]


class Level(NamedTuple):
    """All n-grams of one length.

    Attributes:
        keys: (E,) int64, rising: the tokens of an n-gram as digits.
        scores: (E,) float32 nats, of the last token behind the others.
        backoffs: (E,) float32 nats, of what was not seen behind this n-gram.
    """

    keys: Array
    scores: Array
    backoffs: Array


class Ngrams:
    """Scores of tokens behind others; it computes on the CPU, in few large steps.

    Args:
        size: tokens of the vocabulary; one more stands for the start of an utterance.
        levels: of n-grams of 1, 2, ... tokens. What all but the last token of one are is an n-gram,
            too.
    """

    def __init__(self, size: int, levels: Sequence[Level]) -> None:
        self.size, self.order = size, len(levels)
        self.levels = list(levels)

    @classmethod
    def count(
        cls, texts: Iterable[Sequence[int]], size: int, least: Sequence[int] = (1, 1, 2)
    ) -> Self:
        """Estimate a model.

        Args:
            texts: tokens of each.
            size: of the vocabulary.
            least: how often n-grams of 1, 2, ... tokens must come to be kept, never falling.

        Raises:
            ValueError: no text, `least` falls, or a vocabulary too large for such n-grams.
        """
        if not least or any(a > b for a, b in pairwise(least)):
            raise ValueError(f"least is {tuple(least)}, expected numbers that do not fall")
        base = size + 1
        if base ** len(least) >= 2**63:
            raise ValueError(f"{size} tokens are too many for n-grams of {len(least)}")
        line = _one_line(texts, size)
        if (line < size).sum() == 0:
            raise ValueError("there is no text to count the tokens of")
        found = cls(size, [_first_level(line, size)])
        for n, fewest in enumerate(least[1:], start=2):
            found = cls(size, _with_next_level(found, line, n, fewest))
        return found

    def start(self, batch: int) -> Array:
        """Return the context at the beginning of utterances: (batch, order - 1) int64."""
        context = np.full((batch, self.order - 1), NOTHING)
        context[:, -1:] = self.size
        return context

    def __call__(self, context: Array, tokens: Array) -> Array:
        """Return how likely tokens are behind contexts.

        Args:
            context: (R, order - 1) int64.
            tokens: (R, K) int64.

        Returns:
            (R, K) float32 nats.
        """
        base, levels = self.size + 1, self.levels
        scores = levels[0].scores[tokens]
        for n in range(2, self.order + 1):
            before = context[:, self.order - n :]
            key = before @ base ** np.arange(n - 2, -1, -1)
            seen = (before != NOTHING).all(1)
            at, hit = _find(levels[n - 2].keys, key)
            scores = scores + np.where(hit & seen, levels[n - 2].backoffs[at], 0)[:, None]
            at, hit = _find(levels[n - 1].keys, key[:, None] * base + tokens)
            scores = np.where(hit & seen[:, None], levels[n - 1].scores[at], scores)
        return scores

    def save(self, path: Path, **told: float) -> None:
        """Write a file; `told` stands in its head."""
        short = np.int16 if self.size < 2**15 else np.int32
        stored: dict[str, Array] = {}
        base, levels = self.size + 1, self.levels
        for n, level in enumerate(levels, start=1):
            stored[f"scores{n}"] = level.scores.astype(np.float16)
            if n < self.order:
                stored[f"backoffs{n}"] = level.backoffs.astype(np.float16)
            if n > 1:
                shorter = np.searchsorted(levels[n - 2].keys, level.keys // base)
                stored[f"tokens{n}"] = (level.keys % base).astype(short)
                counts = np.bincount(shorter, minlength=len(levels[n - 2].keys))
                stored[f"followers{n}"] = counts.astype(short)
        head = {"version": VERSION, "size": self.size, "order": self.order, **told}
        save_file(stored, path, {FORMAT: json.dumps(head)})

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, float]]:
        """Read a file of `save`, and what was told in its head.

        Raises:
            CheckpointError: damaged, or no such file.
        """
        try:
            with safe_open(path, framework="np") as file:
                head = dict(json.loads((file.metadata() or {})[FORMAT]))
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if head.pop("version") != VERSION:
                raise ValueError("another version")
            size, order = int(head.pop("size")), int(head.pop("order"))
            if order < 1 or (size + 1) ** order >= 2**63:
                raise ValueError(f"n-grams of {order} of {size} tokens")
            levels = list(_read_levels(stored, size, order))
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as e:
            raise CheckpointError(f"{path} is damaged or no n-grams of echoic: {e}") from e
        return cls(size, levels), head


def _one_line(texts: Iterable[Sequence[int]], size: int) -> np.ndarray:
    """Lay texts end to end, each behind a start."""
    return np.fromiter(chain.from_iterable((size, *text) for text in texts), np.int64)


def _first_level(line: np.ndarray, size: int) -> Level:
    # Half a time more than seen: no token is impossible, but a start within an utterance.
    counts = np.bincount(line, minlength=size + 1)[:size] + 0.5
    shares = np.append(counts / counts.sum(), _NEVER)
    return _level(np.arange(size + 1), shares)


def _with_next_level(shorter: Ngrams, line: np.ndarray, n: int, fewest: int) -> list[Level]:
    """Return the levels of a model whose n-grams are one token longer."""
    base = shorter.size + 1
    parts = np.lib.stride_tricks.sliding_window_view(line, n)
    # A start stands in front of a text or nowhere.
    parts = parts[(parts[:, 1:] != shorter.size).all(1)]
    keys, counts = np.unique(parts @ base ** np.arange(n - 1, -1, -1), return_counts=True)
    contexts, where = np.unique(keys // base, return_inverse=True)
    lower = _shares(shorter, keys, n)
    unseen = np.bincount(where)
    shares = (counts + unseen[where] * lower) / (np.bincount(where, counts) + unseen)[where]
    kept = counts >= fewest
    keys, where, shares, lower = keys[kept], where[kept], shares[kept], lower[kept]
    left = 1 - np.bincount(where, shares, len(contexts))
    spread = 1 - np.bincount(where, lower, len(contexts))
    # Where all tokens were seen nothing is left, but for roundings.
    backoffs = np.log(np.maximum(left, _NEVER) / np.maximum(spread, _NEVER))
    levels = shorter.levels
    at, hit = _find(levels[-1].keys, contexts)
    last = levels[-1].backoffs.copy()
    last[at[hit]] = backoffs[hit]
    return [*levels[:-1], levels[-1]._replace(backoffs=last), _level(keys, shares)]


def _shares(model: Ngrams, keys: np.ndarray, n: int) -> np.ndarray:
    """Return the share that a model of shorter n-grams gives the last token of each n-gram."""
    base = model.size + 1
    tokens = keys[:, None] // base ** np.arange(n - 2, -1, -1) % base
    return np.exp(model(tokens[:, :-1], tokens[:, -1:])[:, 0].astype(np.float64))


def _level(keys: np.ndarray, shares: np.ndarray) -> Level:
    scores = np.log(shares).astype(np.float32)
    return Level(keys, scores, np.zeros_like(scores))


def _find(keys: Array, wanted: Array) -> tuple[Array, Array]:
    """Return where wanted keys stand, and whether they do."""
    if not len(keys):
        return np.zeros_like(wanted), np.zeros_like(wanted, dtype=np.bool_)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _read_levels(stored: dict[str, Array], size: int, order: int) -> Iterable[Level]:
    keys = np.arange(size + 1)
    for n in range(1, order + 1):
        if n > 1:
            followers = stored[f"followers{n}"].astype(np.int64)
            keys = np.repeat(keys, followers) * (size + 1) + stored[f"tokens{n}"]
        scores = stored[f"scores{n}"].astype(np.float32)
        backoffs = np.zeros_like(scores)
        if n < order:
            backoffs = stored[f"backoffs{n}"].astype(np.float32)
        if not len(keys) == len(scores) == len(backoffs):
            raise ValueError(f"{len(keys)} n-grams of {n} have {len(scores)} scores")
        if not np.isfinite(scores + backoffs).all():
            raise ValueError(f"scores of n-grams of {n} are NaN or infinite")
        yield Level(keys, scores, backoffs)

"""Shallow fusion: tokens that are likely by the sound and behind each other.

A Paraformer scores every place by itself. An n-gram model knows what follows what; the best way
through both is looked for with a beam, over all places that are known. The sound is heard once, as
without.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.ngrams import Array, Ngrams
from echoic.asr.paraformer.tokenizer import SPECIAL

FILE = "ngrams.safetensors"
#: Of the score of the n-grams, where that of the sound weighs 1.
WEIGHT = 0.4


class Fusion:
    """The choice of tokens by sound and n-grams, on the CPU.

    Args:
        ngrams: of the model's vocabulary.
        weight: of their score, more than 0.
        beam: ways that are followed at once.
        candidates: tokens of a place that are tried, the likeliest by sound.

    Raises:
        ValueError: a number that is not above 0.
    """

    def __init__(
        self, ngrams: Ngrams, weight: float = WEIGHT, *, beam: int = 12, candidates: int = 16
    ) -> None:
        for name, value in (("weight", weight), ("beam", beam), ("candidates", candidates)):
            if not value > 0:
                raise ValueError(f"{name} is {value}, expected a number above 0")
        if not isinstance(beam, int) or not isinstance(candidates, int):
            raise ValueError(f"beam and candidates are {beam} and {candidates}, expected integers")
        self.ngrams, self.weight = ngrams, weight
        self.beam, self.candidates = beam, candidates

    def start(self, batch: int) -> Tensor:
        """Return the context at the beginning of utterances: (batch, order - 1) int64."""
        return torch.from_numpy(self.ngrams.start(batch))

    def __call__(
        self, context: Tensor, logits: Tensor, counts: Tensor, blocks: Tensor | None = None
    ) -> Tensor:
        """Choose tokens behind others.

        Args:
            context: (B, order - 1) behind what was said before, see `start`.
            logits: (B, N, V).
            counts: (B,) tokens that count; the others are the likeliest by sound.
            blocks: (B, N) which block each belongs to, never falling; blocks are chosen one after
                the other. None for one block.

        Returns:
            (B, N) int64.
        """
        greedy = logits.argmax(-1)
        if not greedy.shape[1]:
            return greedy
        sound, ids = logits.float().log_softmax(-1).topk(min(self.candidates, logits.shape[-1]))
        found = self._best_way(
            _array(context),
            _array(sound),
            _array(ids),
            _array(greedy),
            _array(counts),
            None if blocks is None else _array(blocks),
        )
        return torch.from_numpy(found).to(greedy.device)

    def advance(self, context: Tensor, ids: Tensor, counts: Tensor) -> Tensor:
        """Return the context behind tokens (B, N), of which counts (B,) count."""
        behind, said, sizes = (_array(values) for values in (context, ids, counts))
        for place in range(said.shape[1]):
            moved = _behind(behind[:, None], said[:, place, None])[:, 0]
            behind = np.where((place < sizes)[:, None], moved, behind)
        return torch.from_numpy(behind).to(context.device)

    def rescored(self, context: Tensor, logits: Tensor, chosen: Tensor) -> Tensor:
        """Return logits (B, N, V) with the n-grams' scores behind the tokens chosen (B, N)."""
        batch, places, size = logits.shape
        if not batch * places:
            return logits
        behind, said = _array(context), _array(chosen)
        contexts = [behind]
        for place in range(places - 1):
            contexts.append(_behind(contexts[-1][:, None], said[:, place, None])[:, 0])
        every = np.broadcast_to(np.arange(size), (batch, places, size))
        text = logits[:, :, len(SPECIAL) :].argmax(-1) + len(SPECIAL)
        found = self._scores(np.stack(contexts, axis=1), every, _array(text))
        scores = torch.from_numpy(found)
        return logits.float().log_softmax(-1) + scores.to(logits.device)

    def _best_way(
        self,
        context: Array,
        sound: Array,
        ids: Array,
        greedy: Array,
        counts: Array,
        blocks: Array | None,
    ) -> Array:
        batch, places = greedy.shape
        # Ways begin as one.
        scores = np.full((batch, self.beam), -np.inf, np.float32)
        scores[:, 0] = 0.0
        context = np.repeat(context[:, None], self.beam, axis=1)
        same = np.broadcast_to(np.arange(self.beam), scores.shape)
        parents, tokens = [], []
        for place in range(places):
            if blocks is not None and place:
                begins = blocks[:, place] != blocks[:, place - 1]
                scores = np.where(begins[:, None], _best_alone(scores), scores)
            longer, parent, token = self._extend(scores, context, sound[:, place], ids[:, place])
            live = (place < counts)[:, None]
            scores = np.where(live, longer, scores)
            parents.append(np.where(live, parent, same))
            tokens.append(np.where(live, token, greedy[:, place, None]))
            moved = np.take_along_axis(context, parents[-1][:, :, None], axis=1)
            context = np.where(live[:, :, None], _behind(moved, tokens[-1]), context)
        return _traced(scores.argmax(1), parents, tokens)

    def _extend(
        self, scores: Array, context: Array, sound: Array, ids: Array
    ) -> tuple[Array, Array, Array]:
        """Return the scores, parents and last tokens, (B, beam) each, of the best longer ways."""
        tried = ids.shape[1]
        wanted = np.repeat(ids[:, None], self.beam, axis=1)
        text = np.repeat((ids >= len(SPECIAL)).argmax(1)[:, None], self.beam, axis=1)
        longer = scores[:, :, None] + sound[:, None] + self._scores(context, wanted, text)
        flat = longer.reshape(len(longer), -1)
        best = np.argsort(-flat, axis=1, kind="stable")[:, : self.beam]
        values = np.take_along_axis(flat, best, axis=1)
        return values, best // tried, np.take_along_axis(ids, best % tried, axis=1)

    def _scores(self, context: Array, tokens: Array, text: Array) -> Array:
        """Return weighed scores of tokens (B, W, K) behind contexts (B, W, C).

        Of marks that no text has, n-grams know nothing: beside the likeliest token of text, which
        `text` (B, W) says the place of, the sound alone is to decide.
        """
        batch, ways, count = tokens.shape
        found = self.ngrams(context.reshape(batch * ways, -1), tokens.reshape(batch * ways, count))
        found = np.float32(self.weight) * found.reshape(tokens.shape)
        likeliest = np.take_along_axis(found, text[:, :, None], axis=2)
        return np.where(tokens >= len(SPECIAL), found, likeliest)


def weighed(fusion: Fusion | None, weight: float) -> Fusion | None:
    """Return the same n-grams with another weight; None, which is none of them, for 0.

    Raises:
        ValueError: a weight below 0, or one above where there are no n-grams.
    """
    if weight == 0:
        return None
    if fusion is None:
        raise ValueError(f"ngram_weight is {weight}, but this model has no n-grams: leave it out")
    if not 0 < weight < math.inf:
        raise ValueError(f"ngram_weight is {weight}; it must be 0 or more")
    return Fusion(fusion.ngrams, weight, beam=fusion.beam, candidates=fusion.candidates)


def read_fusion(folder: Path, vocab_size: int) -> Fusion | None:
    """Read the n-grams of a model's folder; None where it has none.

    Raises:
        CheckpointError: damaged, or of another vocabulary.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    ngrams, told = Ngrams.load(path)
    if ngrams.size != vocab_size:
        raise CheckpointError(
            f"{path} is of {ngrams.size} tokens, the model has {vocab_size}; they do not belong "
            "together"
        )
    try:
        return Fusion(ngrams, **told)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as e:
        raise CheckpointError(f"{path} is damaged: {e}") from e


def write_fusion(fusion: Fusion | None, folder: Path) -> None:
    """Write what `read_fusion` reads; with None nothing stays of what was there."""
    if fusion is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    numbers = {"beam": fusion.beam, "candidates": fusion.candidates}
    fusion.ngrams.save(folder / FILE, weight=fusion.weight, **numbers)
    (folder / FILE).chmod(0o644)  # safetensors makes it readable to its owner alone


def _array(values: Tensor) -> Array:
    return values.detach().cpu().numpy()


def _behind(context: Array, tokens: Array) -> Array:
    """Return contexts (B, W, C) behind tokens (B, W)."""
    moved = np.concatenate([context, tokens[:, :, None]], axis=2)[:, :, 1:]
    return np.where((tokens >= len(SPECIAL))[:, :, None], moved, context)


def _best_alone(scores: Array) -> Array:
    alone = np.full_like(scores, -np.inf)
    best = scores.argmax(1)[:, None]
    np.put_along_axis(alone, best, np.take_along_axis(scores, best, axis=1), axis=1)
    return alone


def _traced(way: Array, parents: list[Array], tokens: list[Array]) -> Array:
    """Return the tokens (B, N) of the way (B,) that is best at the end."""
    said, way = [], way[:, None]
    for parent, token in zip(reversed(parents), reversed(tokens), strict=True):
        said.append(np.take_along_axis(token, way, axis=1)[:, 0])
        way = np.take_along_axis(parent, way, axis=1)
    return np.stack(said[::-1], axis=1)

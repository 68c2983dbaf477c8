"""Shallow fusion: tokens that are likely by the sound and behind each other.

A Paraformer scores every place by itself. An n-gram model knows what follows what; the best way
through both is looked for with a beam, over all places that are known. The sound is heard once, as
without.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.ngrams import Ngrams
from echoic.asr.paraformer.tokenizer import SPECIAL

FILE = "ngrams.safetensors"
#: Of the score of the n-grams, where that of the sound weighs 1.
WEIGHT = 0.4


class Fusion(nn.Module):
    """The choice of tokens by sound and n-grams.

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
        super().__init__()
        for name, value in (("weight", weight), ("beam", beam), ("candidates", candidates)):
            if not value > 0:
                raise ValueError(f"{name} is {value}, expected a number above 0")
        if not isinstance(beam, int) or not isinstance(candidates, int):
            raise ValueError(f"beam and candidates are {beam} and {candidates}, expected integers")
        self.ngrams, self.weight = ngrams, weight
        self.beam, self.candidates = beam, candidates

    def forward(
        self, context: Tensor, logits: Tensor, counts: Tensor, blocks: Tensor | None = None
    ) -> Tensor:
        """Choose tokens behind others.

        Args:
            context: (B, order - 1) behind what was said before, see `Ngrams.start`.
            logits: (B, N, V).
            counts: (B,) tokens that count; the others are the likeliest by sound.
            blocks: (B, N) which block each belongs to, never falling; blocks are chosen one after
                the other. None for one block.

        Returns:
            (B, N) int64.
        """
        greedy = logits.argmax(-1)
        batch, places = greedy.shape
        if not places:
            return greedy
        sound, ids = logits.float().log_softmax(-1).topk(min(self.candidates, logits.shape[-1]))
        # Ways begin as one.
        scores = sound.new_full((batch, self.beam), float("-inf"))
        scores[:, 0] = 0.0
        context = context[:, None].expand(-1, self.beam, -1)
        parents, tokens = [], []
        for place in range(places):
            if blocks is not None and place:
                begins = blocks[:, place] != blocks[:, place - 1]
                scores = torch.where(begins[:, None], _best_alone(scores), scores)
            found = self._extend(scores, context, sound[:, place], ids[:, place])
            live = (place < counts)[:, None]
            same = torch.arange(self.beam, device=live.device).expand_as(found[0])
            scores = torch.where(live, found[0], scores)
            parents.append(torch.where(live, found[1], same))
            tokens.append(torch.where(live, found[2], greedy[:, place, None]))
            moved = self._behind(_of_parents(context, parents[-1]), tokens[-1])
            context = torch.where(live[:, :, None], moved, context)
        return _traced(scores.argmax(1), parents, tokens)

    def advance(self, context: Tensor, ids: Tensor, counts: Tensor) -> Tensor:
        """Return the context behind tokens (B, N), of which counts (B,) count."""
        for place in range(ids.shape[1]):
            moved = self._behind(context[:, None], ids[:, place, None])[:, 0]
            context = torch.where((place < counts)[:, None], moved, context)
        return context

    def rescored(self, context: Tensor, logits: Tensor, chosen: Tensor) -> Tensor:
        """Return logits (B, N, V) with the n-grams' scores behind the tokens chosen (B, N)."""
        every = torch.arange(logits.shape[-1], device=logits.device).expand(len(logits), -1)
        scores = []
        for place in range(chosen.shape[1]):
            scores.append(self._scores(context[:, None], every[:, None])[:, 0])
            context = self._behind(context[:, None], chosen[:, place, None])[:, 0]
        if not scores:
            return logits
        return logits.float().log_softmax(-1) + torch.stack(scores, 1)

    def _extend(
        self, scores: Tensor, context: Tensor, sound: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores, parents and last tokens, (B, beam) each, of the best longer ways."""
        wanted = ids[:, None].expand(-1, self.beam, -1)
        longer = scores[:, :, None] + sound[:, None] + self._scores(context, wanted)
        best = longer.flatten(1).topk(self.beam)
        parents = best.indices // ids.shape[1]
        return best.values, parents, ids.gather(1, best.indices % ids.shape[1])

    def _scores(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Return weighed scores of tokens (B, W, K) behind contexts (B, W, C)."""
        flat = self.ngrams(context.flatten(0, 1), tokens.flatten(0, 1)).view(tokens.shape)
        # Of marks that no text has, n-grams know nothing.
        return self.weight * flat * (tokens >= len(SPECIAL))

    def _behind(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Return contexts (B, W, C) behind tokens (B, W)."""
        moved = torch.cat([context, tokens[:, :, None]], dim=2)[:, :, 1:]
        return torch.where((tokens >= len(SPECIAL))[:, :, None], moved, context)


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


def _best_alone(scores: Tensor) -> Tensor:
    best = scores.argmax(1, keepdim=True)
    return torch.full_like(scores, float("-inf")).scatter(1, best, scores.gather(1, best))


def _of_parents(context: Tensor, parents: Tensor) -> Tensor:
    return context.gather(1, parents[:, :, None].expand(-1, -1, context.shape[2]))


def _traced(way: Tensor, parents: list[Tensor], tokens: list[Tensor]) -> Tensor:
    """Return the tokens (B, N) of the way (B,) that is best at the end."""
    said = []
    for parent, token in zip(reversed(parents), reversed(tokens), strict=True):
        said.append(token.gather(1, way[:, None])[:, 0])
        way = parent.gather(1, way[:, None])[:, 0]
    return torch.stack(said[::-1], dim=1)

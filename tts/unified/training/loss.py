"""How wrong a unified model was: token by token, over a batch, or document by document."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from echoic.tts.unified.model import UnifiedLM
from echoic.tts.unified.sequences import NONE, Document
from echoic.tts.unified.training.packing import Pack


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What counts.

    Attributes:
        given: weight of each id that is given, not answered: 1 where all is to be learned
            (pre-training), 0 where answers alone are.
        by_answer: each answer weighs the same, whatever its length; else each id does. An answer in
            speech is fifty times as long as the same in text.

    Raises:
        ValueError: a weight below 0.
    """

    given: float = 1.0
    by_answer: bool = False

    def __post_init__(self) -> None:
        if self.given < 0:
            raise ValueError(f"given is {self.given}, expected 0 or more")

    def weights(self, document: Document) -> Tensor:
        """Return the weight (N,) of each id of a document as a target."""
        answered = document.answers != NONE
        weights = torch.where(answered, 1.0, self.given)
        if self.by_answer:
            owners = document.answers[answered]
            # A document's first id is no target.
            counts = torch.bincount(owners[int(answered[0]) :], minlength=1).clamp(min=1)
            weights[answered] = 1.0 / counts[owners]
        return weights


class TokenLosses(NamedTuple):
    """Of each target that counts.

    Attributes:
        losses: (n,) minus log-probabilities, float32 with gradients.
        weights: (n,).
        documents: (n,) int64 number of the document.
        audio: (n,) bool, whether it is a code or an edge of speech.
    """

    losses: Tensor
    weights: Tensor
    documents: Tensor
    audio: Tensor


def token_losses(model: UnifiedLM, batch: Pack, piece: int = 4096) -> TokenLosses:
    """Compare scores with what came.

    Args:
        model: whose scores they are.
        batch: what it reads.
        piece: targets whose scores are held at once: of 180 thousand ids they are the largest
            thing in memory, so they are computed again for the gradient.
    """
    counts = batch.weights > 0
    states = model.states(batch.ids, batch.positions, batch.mask())[counts]
    targets = batch.targets[counts]
    parts = [
        _cross_entropy(model, states[start : start + piece], targets[start : start + piece])
        for start in range(0, len(targets), piece)
    ]
    losses = torch.cat(parts) if parts else states.new_zeros(0).float()
    vocabulary = model.vocabulary
    audio = (targets >= vocabulary.text_size) & (targets <= vocabulary.end_audio)
    return TokenLosses(losses, batch.weights[counts], batch.documents[counts], audio)


def weighted_mean(found: TokenLosses) -> Tensor:
    """Return the loss of a batch: the mean of its targets by their weights."""
    return (found.losses * found.weights).sum() / found.weights.sum().clamp(min=1e-8)


def document_log_probs(found: TokenLosses, count: int, *, average: bool = False) -> Tensor:
    """Return the log-probability (count,) of each document's targets that count.

    Args:
        found: of them; weights are passed over, but for those of 0, which `token_losses` left out.
        count: documents of the batch.
        average: by the number of targets, else their sum.
    """
    sums = found.losses.new_zeros(count).index_add(0, found.documents, -found.losses)
    if not average:
        return sums
    return sums / torch.bincount(found.documents, minlength=count).clamp(min=1)


def _cross_entropy(model: UnifiedLM, states: Tensor, targets: Tensor) -> Tensor:
    def compute(states: Tensor) -> Tensor:
        return functional.cross_entropy(model.scores(states).float(), targets, reduction="none")

    if not torch.is_grad_enabled():
        return compute(states)
    found = checkpoint(compute, states, use_reentrant=False)
    assert isinstance(found, Tensor)
    return found

"""The losses of Paraformer: tokens, their number, and CTC."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.paraformer.config import ObjectiveConfig
from echoic.asr.paraformer.ctc import BLANK
from echoic.asr.paraformer.sanm import length_mask


class Losses(NamedTuple):
    """What a training step minimises (`total`), its parts, and how many first guesses were right.

    Attributes:
        total: scalar.
        tokens: cross entropy of the second pass.
        quantity: error of the predicted number of tokens.
        ctc: None without a CTC head.
        placing: None where tokens may be anywhere.
        accuracy: share of the tokens that the pass without labels' embeddings got right.
    """

    total: Tensor
    tokens: Tensor
    quantity: Tensor
    ctc: Tensor | None
    placing: Tensor | None
    accuracy: Tensor


def token_loss(
    logits: Tensor, labels: Tensor, lengths: Tensor, smoothing: float, *, per_token: bool
) -> Tensor:
    """Divergence from the labels, softened: 1 - smoothing on a label, the rest shared by all else.

    Args:
        logits: (B, N, V).
        labels: (B, N); what stands beyond the length does not matter.
        lengths: (B,) labels that count.
        smoothing: 0 to below 1.
        per_token: divide the sum by tokens; else by utterances.
    """
    real = length_mask(lengths, labels.shape[1])
    log_probs = logits.float().log_softmax(-1)
    right = log_probs.gather(2, labels.clamp(min=0)[:, :, None]).squeeze(2)
    confidence, low = 1 - smoothing, smoothing / (logits.shape[2] - 1)
    cross = -confidence * right - low * (log_probs.sum(2) - right)
    target = torch.tensor([confidence, low], dtype=torch.float64)
    counts = torch.tensor([1, logits.shape[2] - 1], dtype=torch.float64)
    entropy = -float((counts * torch.special.xlogy(target, target)).sum())
    total = ((cross - entropy) * real).sum()
    return total / (real.sum().clamp(min=1) if per_token else len(labels))


def quantity_loss(quantity: Tensor, lengths: Tensor, *, per_token: bool) -> Tensor:
    """Distance of the predicted numbers of tokens (B,) from the right ones (B,)."""
    total = (quantity - lengths).abs().sum()
    return total / (lengths.sum().clamp(min=1) if per_token else len(lengths))


def ctc_loss(logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """CTC of logits (B, T, V), the mean over utterances; those too short for theirs count 0."""
    total = functional.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1),
        labels.clamp(min=0),
        lengths,
        label_lengths,
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,
    )
    return total / len(labels)


def placing_loss(
    weights: Tensor, runs: Tensor, lengths: Tensor, counts: Tensor, *, per_token: bool
) -> Tensor:
    """How far the weight of each token's stretch of the sound is from 1.

    The error of the sum alone, as published, leaves open where the tokens are: one that comes too
    early shares its sound with the next, and is written twice. Here the sound is cut in the middle
    between what the CTC hears of one label and of the next, and each piece is to weigh 1. (That a
    CTC guide CIF is of Yu et al. 2021, arXiv 2104.04702.)

    Args:
        weights: (B, T) of the frames, not scaled, 0 beyond the lengths.
        runs: (B, T) which label, from 0, a frame says, -1 for none (`aligned_runs`).
        lengths: (B,) frames that count.
        counts: (B,) tokens, more than the labels where an end token follows: it has what is left.
        per_token: divide the sum by tokens; else by utterances.
    """
    size = int(counts.max()) if len(counts) else 0
    number = torch.arange(size, device=runs.device)
    frames = torch.arange(runs.shape[1], device=runs.device)
    said = runs[:, None, :] == number[:, None]
    ends = torch.where(said, frames + 1, 0).amax(2)
    # Labels without a frame, and the end, are where the one before them ends.
    ends = ends.cummax(1).values
    later = torch.where(said, frames, runs.shape[1]).amin(2)
    starts = later.flip(1).cummin(1).values.flip(1)
    following = torch.cat([starts[:, 1:], lengths[:, None]], dim=1)
    cuts = (ends + torch.minimum(following, lengths[:, None])).div(2, rounding_mode="floor")
    cuts = torch.where(number + 1 >= counts[:, None], lengths[:, None], cuts)
    sums = functional.pad(weights.cumsum(1), (1, 0)).gather(1, cuts)
    mass = sums.diff(dim=1, prepend=torch.zeros_like(sums[:, :1]))
    total = ((mass - 1).abs() * length_mask(counts, size)).sum()
    return total / (counts.sum().clamp(min=1) if per_token else len(counts))


def accuracy(guesses: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """Share of the guesses (B, N) that are the labels (B, N)."""
    real = length_mask(lengths, labels.shape[1])
    return ((guesses == labels) & real).sum() / real.sum().clamp(min=1)


def combine(
    tokens: Tensor,
    quantity: Tensor,
    ctc: Tensor | None,
    placing: Tensor | None,
    right: Tensor,
    config: ObjectiveConfig,
) -> Losses:
    """Weigh the parts."""
    total = tokens if ctc is None else config.ctc * ctc + (1 - config.ctc) * tokens
    total = total + config.quantity * quantity
    if placing is not None:
        total = total + config.placing * placing
    return Losses(total, tokens, quantity, ctc, placing, right)

"""What a discriminator learns by, and what the codec learns from it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialKind = Literal["lsgan", "hinge"]
Reduction = Literal["sum", "mean"]


class Judgement(NamedTuple):
    """What one discriminator says of a batch.

    Attributes:
        score: of any shape; high where it takes the sound for real.
        features: outputs of its hidden layers.
    """

    score: Tensor
    features: list[Tensor]


def discriminator_loss(
    real: Sequence[Judgement],
    fake: Sequence[Judgement],
    kind: AdversarialKind = "lsgan",
    reduction: Reduction = "sum",
) -> Tensor:
    """Return the loss by which discriminators learn to tell real sound from a codec's.

    Args:
        real: their judgements of recordings.
        fake: those of reconstructions, which the codec's gradient must not reach.
        kind: "lsgan": squared distances from 1 and 0 (Mao et al. 2017). "hinge": Lim & Ye 2017.
        reduction: over discriminators.

    Raises:
        ValueError: an unknown kind, or no judgements.
    """
    check_adversarial(kind)
    losses = []
    for (true, _), (made, _) in zip(real, fake, strict=True):
        true, made = true.float(), made.float()
        if kind == "lsgan":
            losses.append((1 - true).square().mean() + made.square().mean())
        else:
            losses.append(F.relu(1 - true).mean() + F.relu(1 + made).mean())
    return _reduce(losses, reduction)


def generator_loss(
    fake: Sequence[Judgement], kind: AdversarialKind = "lsgan", reduction: Reduction = "sum"
) -> Tensor:
    """Return the loss by which a codec learns to be taken for real.

    Args:
        fake: judgements of reconstructions.
        kind: see `discriminator_loss`; of "hinge" the codec's part is linear, so that it learns
            also from what already fools.
        reduction: over discriminators.

    Raises:
        ValueError: an unknown kind, or no judgements.
    """
    check_adversarial(kind)
    scores = [judgement.score.float() for judgement in fake]
    if kind == "lsgan":
        return _reduce([(1 - score).square().mean() for score in scores], reduction)
    return _reduce([-score.mean() for score in scores], reduction)


def feature_matching(
    real: Sequence[Judgement],
    fake: Sequence[Judgement],
    *,
    normalized: bool = False,
    reduction: Reduction = "sum",
) -> Tensor:
    """Return the L1 distance of what discriminators see inside (Kumar et al. 2019, MelGAN).

    Args:
        real: judgements of recordings; no gradient reaches them.
        fake: judgements of reconstructions.
        normalized: divide each layer's distance by the mean size of its real features, and average
            over layers (EnCodec, Défossez et al. 2022, equation 2); else layers are summed.
        reduction: over discriminators.

    Raises:
        ValueError: no judgements.
    """
    losses = []
    for (_, true), (_, made) in zip(real, fake, strict=True):
        distances = []
        for target, ours in zip(true, made, strict=True):
            target, ours = target.detach().float(), ours.float()
            distance = (ours - target).abs().mean()
            if normalized:
                distance = distance / target.abs().mean().clamp(min=1e-5)
            distances.append(distance)
        layers = torch.stack(distances)
        losses.append(layers.mean() if normalized else layers.sum())
    return _reduce(losses, reduction)


def check_adversarial(kind: str) -> None:
    """Raise ValueError for a kind that is none."""
    if kind not in get_args(AdversarialKind):
        raise ValueError(
            f"adversarial loss is {kind!r}, expected one of {', '.join(get_args(AdversarialKind))}"
        )


def _reduce(losses: Sequence[Tensor], reduction: Reduction) -> Tensor:
    if not losses:
        raise ValueError("there are no judgements to learn from: name one discriminator at least")
    total = torch.stack(list(losses))
    return total.sum() if reduction == "sum" else total.mean()

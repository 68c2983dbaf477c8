"""The losses of a step: Paraformer's own, consistency between two views, expected errors."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.paraformer.losses import combine
from echoic.asr.paraformer.model import Paraformer, TeacherPass
from echoic.asr.paraformer.mwer import mwer_loss
from echoic.asr.paraformer.sanm import length_mask


@dataclass(frozen=True, slots=True)
class Glancing:
    """Shares of the sampler that change with time, in place of the model's `objective.sampling`.

    Attributes:
        first: share at the first step.
        last: share from step `steps` on.
        steps: of the linear way between them.
    """

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        if not (0 <= self.first <= 1 and 0 <= self.last <= 1 and self.steps >= 1):
            raise ValueError(
                f"glancing is {self.first} to {self.last} in {self.steps} steps, expected shares "
                "of 0 to 1, and 1 step or more"
            )

    def at(self, step: int) -> float:
        """Return the share at a step."""
        return self.first + (self.last - self.first) * min(1.0, step / self.steps)


@dataclass(frozen=True, slots=True)
class Mwer:
    """Expected errors of sampled texts, for a model that is trained already (see `mwer_loss`).

    No label's embedding is mixed in then: the texts are what the model writes by itself.

    Attributes:
        weight: of the loss beside the others.
        samples: texts compared.
        rate: share of the tokens that are changed in each.
    """

    weight: float = 1.0
    samples: int = 4
    rate: float = 0.2

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.samples < 2 or not 0 < self.rate <= 1:
            raise ValueError(
                f"weight {self.weight}, samples {self.samples}, rate {self.rate}: expected above "
                "0, 2 or more, above 0 to 1"
            )


class StepLosses(NamedTuple):
    """What a step minimises (`total`) and its parts; see `Losses`.

    All are divided alike, by tokens or by utterances as `ObjectiveConfig.per_token` says: a CTC
    loss of whole utterances beside a cross entropy of single tokens would be most of the sum, and
    more of it in a batch of long utterances.

    Attributes:
        total: scalar.
        tokens: cross entropy.
        quantity: error of the predicted number of tokens.
        accuracy: share of the tokens right without labels' embeddings.
        ctc: None without a CTC head.
        placing: None where tokens may be anywhere.
        consistency: None with one view.
        mwer: None if it is not asked for.
    """

    total: Tensor
    tokens: Tensor
    quantity: Tensor
    accuracy: Tensor
    ctc: Tensor | None = None
    placing: Tensor | None = None
    consistency: Tensor | None = None
    mwer: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """Return those that there are, by name."""
        named = self._asdict().items()
        return {name: value.detach() for name, value in named if value is not None}


def consistency_loss(logits: Tensor, lengths: Tensor) -> Tensor:
    """Compare the CTC posteriors of two views of the same utterances (CR-CTC, arXiv 2410.05101).

    Each view learns from the other, which learns nothing from it: the sum of both divergences over
    the frames, the mean over the 2B rows.

    Args:
        logits: (2B, T, V), the first half of one view, the second of the other.
        lengths: (2B,) frames that count.
    """
    log_probs = logits.float().log_softmax(-1)
    first, second = log_probs.detach().chunk(2)
    targets = torch.cat([second, first])
    divergence = functional.kl_div(log_probs, targets, reduction="none", log_target=True).sum(2)
    return (divergence * length_mask(lengths, logits.shape[1])).sum() / len(logits)


def step_losses(
    model: Paraformer,
    done: TeacherPass,
    lengths: Tensor,
    labels: Tensor,
    label_lengths: Tensor,
    *,
    consistency: float = 0.0,
    mwer: Mwer | None = None,
    generator: torch.Generator | None = None,
) -> StepLosses:
    """Weigh what a step computed.

    Args:
        model: that computed it.
        done: of `Paraformer.teach`; of two views, one behind the other, for consistency.
        lengths: (B,) frames that were given to it.
        labels: (B, L).
        label_lengths: (B,).
        consistency: weight beside the CTC loss; 0 for one view.
        mwer: None for none.
        generator: on the CPU, of sampled texts.
    """
    own, objective = model.losses(done, lengths, labels, label_lengths), model.config.objective
    share = len(labels) / label_lengths.sum().clamp(min=1) if objective.per_token else 1.0
    ctc = None if own.ctc is None else own.ctc * share
    total = combine(own.tokens, own.quantity, ctc, own.placing, own.accuracy, objective).total
    agreed, errors = None, None
    if consistency and done.ctc_logits is not None:
        agreed = consistency_loss(done.ctc_logits, lengths) * share
        total = total + objective.ctc * consistency * agreed
    if mwer is not None:
        errors = mwer_loss(
            done.logits,
            done.lengths,
            done.labels,
            done.lengths,
            samples=mwer.samples,
            rate=mwer.rate,
            generator=generator,
        )
        errors = errors * share
        total = total + mwer.weight * errors
    return StepLosses(
        total, own.tokens, own.quantity, own.accuracy, ctc, own.placing, agreed, errors
    )

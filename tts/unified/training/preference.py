"""Learning which of two answers is better: DPO and IPO, with a hinge that keeps the better one.

All log-probabilities are of the answers' ids alone: neither what was given, nor what fills a batch.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from torch import Tensor
from torch.nn import functional

Objective = Literal["dpo", "ipo"]


@dataclass(frozen=True, slots=True)
class PreferenceConfig:
    """What is preferred how much.

    With r = log p(answer) - log p_reference(answer) of the chosen (w) and the rejected (l) one:

    - dpo (Rafailov et al. 2023, eq. 7): -log sigmoid(beta (r_w - r_l - positive max(0, -r_w))).
      With `positive` it is DPOP (Pal et al. 2024, eq. 3): the gap may not be won by making both
      unlikely.
    - ipo (Azar et al. 2023, eq. 17): (r_w - r_l - 1 / (2 beta))^2 + positive max(0, -r_w). Here
      the hinge stands beside the square: inside, it would reward the fall of r_w once the gap is
      wide.

    Attributes:
        objective: "dpo" or "ipo".
        beta: how strongly the reference holds.
        positive: weight of the hinge; 0 for none.
        average: log p is the mean over an answer's ids, not their sum. The sum is what the papers
            have; of speech it is hundreds of nats, and longer answers weigh more. With the mean,
            take a beta some tens of times larger; advised for ipo, whose target is one number for
            all lengths.

    Raises:
        ValueError: an unknown objective, or numbers out of their range.
    """

    objective: Objective = "dpo"
    beta: float = 0.1
    positive: float = 0.0
    average: bool = False

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise ValueError(
                f"objective is {self.objective!r}, expected one of {', '.join(get_args(Objective))}"
            )
        if self.beta <= 0 or self.positive < 0:
            raise ValueError(
                f"beta {self.beta}, positive {self.positive}: expected more than 0, 0 or more"
            )


class LogProbs(NamedTuple):
    """Of the answers to the same prompts.

    Attributes:
        chosen: (P,).
        rejected: (P,).
    """

    chosen: Tensor
    rejected: Tensor


class PreferenceLosses(NamedTuple):
    """Losses of a batch of pairs.

    Attributes:
        total: mean, with gradients.
        margin: mean of r_w - r_l.
        accuracy: share of the pairs with a margin above 0.
        chosen: mean of r_w: below 0 the chosen answers have become less likely.
        rejected: mean of r_l.
    """

    total: Tensor
    margin: Tensor
    accuracy: Tensor
    chosen: Tensor
    rejected: Tensor


def preference_losses(
    policy: LogProbs, reference: LogProbs, config: PreferenceConfig
) -> PreferenceLosses:
    """Compare what a model finds likely with what it found likely before."""
    chosen = policy.chosen - reference.chosen
    rejected = policy.rejected - reference.rejected
    margin = chosen - rejected
    hinge = config.positive * functional.relu(-chosen)
    if config.objective == "dpo":
        losses = -functional.logsigmoid(config.beta * (margin - hinge))
    else:
        losses = (margin - 1 / (2 * config.beta)).square() + hinge
    accuracy = (margin > 0).float()
    told = (values.detach().mean() for values in (margin, accuracy, chosen, rejected))
    return PreferenceLosses(losses.mean(), *told)

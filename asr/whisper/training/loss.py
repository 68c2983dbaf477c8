"""The loss of a training step: what to say now, or that there is nothing to say yet."""

from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.asr.whisper.training.plan import IGNORED, PlanBatch


@dataclass(frozen=True, slots=True)
class StepLoss:
    """A loss and what is behind it, all scalars.

    Attributes:
        total: what is minimised.
        text: cross entropy where a text token is asked for.
        wait: cross entropy where the end of text is: "wait".
        text_accuracy: share of text tokens that are the likeliest.
        wait_recall: share of the places to wait at where waiting is the likeliest.
        wait_precision: share of the waits that are right.
    """

    total: Tensor
    text: Tensor
    wait: Tensor
    text_accuracy: Tensor
    wait_recall: Tensor
    wait_precision: Tensor


def step_loss(
    logits: Tensor,
    plan: PlanBatch,
    teacher_ids: Tensor,
    teacher_probs: Tensor,
    *,
    end: int,
    distillation: float,
) -> StepLoss:
    """Compare scores with targets.

    The cross entropy is that of Krichli et al. 2025 (section 3.3). Beyond it, where a text token is
    asked for, a share of the target is what the offline model, which hears the whole utterance,
    expects there.

    Args:
        logits: float32 (n, vocab_size), of the places in `plan` that are asked, in order.
        plan: of the batch.
        teacher_ids: int64 (B, N, K).
        teacher_probs: (B, N, K), zeros where the teacher said nothing.
        end: id of the end of text.
        distillation: share of the teacher in the target, 0 to 1.
    """
    asked = plan.targets != IGNORED
    targets, labels = plan.targets[asked], plan.labels[asked]
    logprobs = logits.log_softmax(-1)
    hard = -logprobs.gather(1, targets[:, None])[:, 0]
    waits = targets == end
    rows = torch.arange(len(plan.targets), device=targets.device)[:, None]
    rows = rows.expand_as(plan.targets)[asked]
    at = labels.clamp(min=0)
    ids, probs = teacher_ids[rows, at], teacher_probs[rows, at]
    mass = probs.sum(-1)
    soft = -(logprobs.gather(1, ids) * probs).sum(-1) / mass.clamp(min=1e-6)
    share = distillation * ((labels >= 0) & (mass > 0)).to(hard.dtype)
    losses = (1 - share) * hard + share * soft
    with torch.no_grad():
        best = logits.argmax(-1)
        right = best == targets
        said_wait = best == end
    return StepLoss(
        total=losses.mean(),
        text=_mean(hard, ~waits),
        wait=_mean(hard, waits),
        text_accuracy=_mean(right.float(), ~waits),
        wait_recall=_mean(right.float(), waits),
        wait_precision=_mean(waits.float(), said_wait),
    )


def _mean(values: Tensor, where: Tensor) -> Tensor:
    where = where.to(values.dtype)
    return ((values * where).sum() / where.sum().clamp(min=1)).detach()

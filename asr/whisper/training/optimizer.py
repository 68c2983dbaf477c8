"""AdamW with warm-up and a cosine, for what learns of a model that is otherwise frozen."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW with warm-up and a cosine to nothing.

    Attributes:
        learning_rate: at the end of the warm-up.
        weight_decay: of AdamW.
        warmup_steps: steps of linear rise.
        total_steps: where the cosine ends; None for the trainer's `max_steps`.
        final_share: of the learning rate that is left at the end.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    total_steps: int | None = None
    final_share: float = 0.02


def make_optimizer(
    weights: Iterable[nn.Parameter], config: OptimizerConfig, max_steps: int
) -> OptimizerLRScheduler:
    """Return AdamW and its schedule, as Lightning takes them.

    Args:
        weights: of a model; those that learn are taken.
        config: how they learn.
        max_steps: of the trainer, below 1 for no end.

    Raises:
        ValueError: nothing says when the run ends.
    """
    learning = [weight for weight in weights if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        learning, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    total = config.total_steps or max_steps
    if total < 1:
        raise ValueError(
            f"trainer.max_steps is {total}, and batches have no end: say how many steps to take"
        )

    def share(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        done = min(1.0, (step - config.warmup_steps) / max(1, total - config.warmup_steps))
        cosine = (1 + math.cos(math.pi * done)) / 2
        return config.final_share + (1 - config.final_share) * cosine

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }

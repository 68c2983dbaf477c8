"""What all training of speech shares: AdamW and its schedule, clipping, draws, a running mean."""

from dataclasses import replace
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from echoic.codecs.training.optimization import (
    OptimizerConfig,
    make_optimizer,
    step_optimizer,
)
from echoic.tts.training.average import Average


class Learner(lightning.LightningModule):
    """A task whose model learns by one optimizer; subclasses say which, and what its loss is.

    Args:
        optimizer: how it learns.
        seed: of everything that is drawn in a step.
    """

    def __init__(self, optimizer: OptimizerConfig | None, seed: int) -> None:
        super().__init__()
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        self.seed = seed
        self.average: Average | None = None
        """The running mean of the weights; None for tasks without one."""

    @property
    def learns(self) -> nn.Module:
        """What learns."""
        raise NotImplementedError

    def draw_for(self, number: int) -> None:
        """Let what is drawn in a step depend on the seed and the number of its batch alone.

        So a run that was stopped and goes on has the losses of one that was not.
        """
        torch.manual_seed(self.seed * 1_000_003 + number)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the average follow each step, before any checkpoint of it is written."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.learns)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule.

        Raises:
            ValueError: nothing says when the cosine ends.
        """
        config = self.optimizer_config
        total = config.total_steps or self.trainer.max_steps
        if config.schedule == "cosine" and total < 1:
            raise ValueError(
                f"trainer.max_steps is {total}, and batches have no end: say how many steps to "
                "take, or total_steps in the optimizer"
            )
        optimizer = make_optimizer(self.learns, config)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: config.rate(step, total) / config.learning_rate
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the optimizer's `clip_norm`; a gradient that is not finite changes nothing.

        Args:
            optimizer: whose weights have gradients.
            gradient_clip_val: of the trainer, which counts where it is given.
            gradient_clip_algorithm: passed over: it is the norm that is clipped.
        """
        config = self.optimizer_config
        if gradient_clip_val:
            config = replace(config, clip_norm=gradient_clip_val)
        norm = step_optimizer(optimizer, config)
        rate = optimizer.param_groups[0]["lr"]
        self.log_dict({"train/norm": norm, "train/learning_rate": rate})

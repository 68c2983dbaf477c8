"""What the tasks of flow and vocoder share: an average, AdamW and its schedule."""

from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, cast

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

MODEL_PREFIX, AVERAGE_PREFIX = "model.", "average.model."

M = TypeVar("M", bound=nn.Module)


class Learner(lightning.LightningModule, Generic[M]):
    """Trains a model whose loss is one number; subclasses say which.

    Args:
        model: what learns.
        optimizer: how it learns.
        ema_decay: of the average that is validated and exported; 0 for none.
        seed: of everything that is drawn in a step.
    """

    #: What a checkpoint holds of the settings beside Lightning's own keys.
    settings_key: ClassVar[str]

    def __init__(self, model: M, optimizer: OptimizerConfig | None, ema_decay: float, seed: int):
        super().__init__()
        self.model = model
        self.average = Average(model, ema_decay) if ema_decay else None
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        self.seed = seed

    @property
    def best(self) -> M:
        """What is validated: the average, where there is one."""
        return self.model if self.average is None else cast(M, self.average.model)

    def about(self) -> dict[str, Any]:
        """Return what the model can be built of again, plain values."""
        raise NotImplementedError

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the average follow each step, before any checkpoint of it is written."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.model)

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
        optimizer = make_optimizer(self.model, config)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: config.rate(step, total) / config.learning_rate
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def check_rate(self, sample_rate: int) -> None:
        """Raise ValueError where the data have another sample rate than the model's, in Hz."""
        found = getattr(getattr(self.trainer, "datamodule", None), "sample_rate", sample_rate)
        if found != sample_rate:
            raise ValueError(
                f"the data have {found} Hz and the model's spectra {sample_rate}: set the data's "
                "sample_rate"
            )

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is, so that it can be built without the recipe."""
        checkpoint[self.settings_key] = self.about()

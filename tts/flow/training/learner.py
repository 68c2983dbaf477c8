"""What the tasks of flow and vocoder share: a model that is there from the start."""

from typing import Any, ClassVar, Generic, TypeVar, cast

from torch import nn

from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.training.average import Average
from echoic.tts.training.learner import Learner

MODEL_PREFIX, AVERAGE_PREFIX = "model.", "average.model."

M = TypeVar("M", bound=nn.Module)


class ModelLearner(Learner, Generic[M]):
    """Trains a model whose settings the recipe tells, not the data.

    Args:
        model: what learns.
        optimizer: how it learns.
        ema_decay: of the average that is validated and exported; 0 for none.
        seed: of everything that is drawn in a step.
    """

    #: What a checkpoint holds of the settings beside Lightning's own keys.
    settings_key: ClassVar[str]

    def __init__(
        self, model: M, optimizer: OptimizerConfig | None, ema_decay: float, seed: int
    ) -> None:
        super().__init__(optimizer, seed)
        self.model = model
        if ema_decay:
            self.average = Average(model, ema_decay)

    @property
    def learns(self) -> M:
        """What learns."""
        return self.model

    @property
    def best(self) -> M:
        """What is validated: the average, where there is one."""
        return self.model if self.average is None else cast(M, self.average.model)

    def about(self) -> dict[str, Any]:
        """Return what the model can be built of again, plain values."""
        raise NotImplementedError

    def check_rate(self, sample_rate: int) -> None:
        """Raise ValueError where the data have another sample rate than the model's, in Hz."""
        found = getattr(getattr(self.trainer, "datamodule", None), "sample_rate", sample_rate)
        if found != sample_rate:
            raise ValueError(
                f"the data have {found} Hz and the model's spectra {sample_rate}: set the data's "
                "sample_rate"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is, so that it can be built without the recipe."""
        checkpoint[self.settings_key] = self.about()

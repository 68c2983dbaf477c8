"""The training of a causal Whisper as a Lightning module."""

from dataclasses import asdict
from typing import Any

import lightning
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.encoder import encode_blocks
from echoic.asr.whisper.training.data import Batch
from echoic.asr.whisper.training.datamodule import CausalWhisperData
from echoic.asr.whisper.training.lora import LoraSettings, add_lora, load_lora_state, lora_state
from echoic.asr.whisper.training.loss import StepLoss, step_loss
from echoic.asr.whisper.training.moments import decode
from echoic.asr.whisper.training.optimizer import OptimizerConfig, make_optimizer
from echoic.asr.whisper.training.plan import IGNORED


class CausalWhisperTask(lightning.LightningModule):
    """LoRA adapters that make Whisper's encoder block-causal and its decoder say "wait".

    After Krichli et al. 2025 (arXiv 2508.12301), with one encoder pass and one optimiser step for
    all moments of a batch.

    Args:
        base: name or folder of the model to adapt.
        lora: which adapters.
        optimizer: how they learn.
        distillation: share of the offline model's word in the target, 0 to 1.
    """

    def __init__(
        self,
        base: str = "tiny.en",
        lora: LoraSettings | None = None,
        optimizer: OptimizerConfig | None = None,
        distillation: float = 0.5,
    ) -> None:
        super().__init__()
        self.base = base
        self.lora = LoraSettings() if lora is None else lora
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        self.distillation = distillation
        self.model = WhisperModel.from_checkpoint(load_checkpoint(base))
        add_lora(self.model, self.lora)

    def forward(self, batch: Batch) -> StepLoss:
        """Run one batch: the encoder once, the decoder once over all moments."""
        encoded = encode_blocks(self.model.encoder, batch.mel, batch.blocks)
        hidden = decode(self.model.decoder, batch.plan, encoded)
        logits = self.model.decoder.logits(hidden[batch.plan.targets != IGNORED])
        return step_loss(
            logits,
            batch.plan,
            batch.teacher_ids,
            batch.teacher_probs,
            end=self.model.generation.eos_token_id,
            distillation=self.distillation,
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self(batch)
        self._log("train", loss, batch)
        return loss.total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of a batch."""
        self._log("val", self(batch), batch)

    def _log(self, stage: str, loss: StepLoss, batch: Batch) -> None:
        values = {f"{stage}/{name}": getattr(loss, name) for name in loss.__slots__}
        self.log_dict(values, batch_size=batch.mel.shape[0], sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW on the adapters, and its schedule.

        Raises:
            ValueError: nothing says when the run ends.
        """
        return make_optimizer(
            self.model.parameters(), self.optimizer_config, self.trainer.max_steps
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the adapters only, and what their user must know: the base is elsewhere."""
        checkpoint["state_dict"] = lora_state(self.model)
        checkpoint["adapter"] = {"base": self.base, "lora": asdict(self.lora)}
        streaming = self.streaming_settings()
        if streaming is not None:
            checkpoint["adapter"]["streaming"] = streaming

    def streaming_settings(self) -> dict[str, Any] | None:
        """Return how a stream must be cut for this model, as its data say; None without data."""
        data = getattr(self.trainer, "datamodule", None)
        return data.streaming_settings() if isinstance(data, CausalWhisperData) else None

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load what `on_save_checkpoint` kept."""
        load_lora_state(self.model, state_dict)

"""The training of a language's adapter as a Lightning module."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from echoic.asr.languages import language_code
from echoic.asr.whisper.adapter import merge
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.language_adapter import (
    SHARE,
    LanguageAdapter,
    LanguageAdapterConfig,
    checked_bottleneck,
    fresh_state,
    print_of_adapter,
    print_of_model,
)
from echoic.asr.whisper.layer_adapters import LayerAdapters
from echoic.asr.whisper.model import SILENCE_STRIDE, WhisperModel
from echoic.asr.whisper.streaming.encoder import encode_blocks
from echoic.asr.whisper.streaming.load import find_adapter
from echoic.asr.whisper.training.data import Batch
from echoic.asr.whisper.training.loss import step_loss
from echoic.asr.whisper.training.moments import decode
from echoic.asr.whisper.training.optimizer import OptimizerConfig, make_optimizer
from echoic.asr.whisper.training.plan import IGNORED
from echoic.asr.whisper.training.whole import WholeBatch, decode_whole

#: What a checkpoint of `LanguageAdapterTask` holds beside Lightning's own keys, and the running
#: mean of the weights, where one is kept.
ADAPTER_KEY, MEAN_KEY = "language_adapter", "language_adapter_mean"


class LanguageAdapterTask(lightning.LightningModule):
    """Residual networks behind the encoder's layers that learn one language; the rest is frozen.

    After Bai et al. 2024, see `echoic.asr.whisper.language_adapter`. A causal model learns from
    moments of a stream (`CausalWhisperData`), an offline one from whole utterances
    (`LanguageAdapterData`).

    Args:
        language: code or name.
        base: name or folder of the model.
        causal: name or folder of the LoRA adapter that makes it hear in blocks; None for offline.
        share: of the model's parameters that may be learned.
        bottleneck: inner width; None for the largest that `share` allows.
        optimizer: how they learn.
        label_smoothing: share of each target that is spread over all tokens; of whole utterances.
        distillation: share of the offline model's word in the target; of moments.
        ema_decay: of a running mean of the weights, which is validated and exported; 0 for none.
        seed: of the weights to begin from; the same for languages that are to be merged.

    Raises:
        CheckpointError: no such model, or no such causal adapter of it.
        ValueError: a bottleneck that is larger than the share, or a decay that is none.
    """

    def __init__(
        self,
        language: str,
        base: str = "base",
        causal: str | None = None,
        share: float = SHARE,
        bottleneck: int | None = None,
        optimizer: OptimizerConfig | None = None,
        label_smoothing: float = 0.1,
        distillation: float = 0.3,
        ema_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay is {ema_decay}, expected 0 (no mean) to less than 1")
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        self.label_smoothing = label_smoothing
        self.distillation = distillation
        self.ema_decay = ema_decay
        self.model = WhisperModel.from_checkpoint(load_checkpoint(base))
        base_print = print_of_model(self.model)
        lora = None if causal is None else find_adapter(causal)
        if lora is not None:
            merge(self.model, lora)
        sizes = self.model.config
        self.config = LanguageAdapterConfig(
            languages=(language_code(language),),
            bottleneck=checked_bottleneck(sizes, bottleneck, share),
            width=sizes.d_model,
            layers=sizes.encoder_layers,
            base_model=causal or base,
            base_print=base_print,
            causal_print=None if lora is None else print_of_adapter(lora),
        )
        self.model.requires_grad_(False)
        for layer in self.model.encoder.blocks():
            layer.adapters = LayerAdapters(1, sizes.d_model, self.config.bottleneck)
        self._put(fresh_state(self.config, seed))
        self.mean: dict[str, Tensor] | None = None
        self._averaged_step = 0

    def networks(self) -> list[LayerAdapters]:
        """Return what learns, a module a layer."""
        found = (layer.adapters for layer in self.model.encoder.blocks())
        return [network for network in found if network is not None]

    def adapter_state(self) -> dict[str, Tensor]:
        """Return the weights by their names in a file."""
        return {
            f"layers.{index}.{name}": value
            for index, network in enumerate(self.networks())
            for name, value in network.get(0).items()
        }

    def adapter(self) -> LanguageAdapter:
        """Return a copy of the adapter as it is now: the running mean, where there is one."""
        state = self.adapter_state() if self.mean is None else self.mean
        copied = {name: value.float().cpu().clone() for name, value in state.items()}
        return LanguageAdapter(self.config, copied)

    def forward(self, batch: Batch | WholeBatch) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ValueError: moments of a stream for an offline model, or whole utterances for another.
        """
        if isinstance(batch, Batch) != (self.config.causal_print is not None):
            data = (
                "LanguageAdapterData" if self.config.causal_print is None else "CausalWhisperData"
            )
            raise ValueError(f"data of another kind than the model's: take {data}")
        if isinstance(batch, Batch):
            return self._moments(batch)
        return self._whole(batch)

    def _moments(self, batch: Batch) -> Tensor:
        which = torch.zeros(len(batch.mel), dtype=torch.int64, device=batch.mel.device)
        encoded = encode_blocks(self.model.encoder, batch.mel, batch.blocks, which)
        hidden = decode(self.model.decoder, batch.plan, encoded)
        return step_loss(
            self.model.decoder.logits(hidden[batch.plan.targets != IGNORED]),
            batch.plan,
            batch.teacher_ids,
            batch.teacher_probs,
            end=self.model.generation.eos_token_id,
            distillation=self.distillation,
        ).total

    def _whole(self, batch: WholeBatch) -> Tensor:
        which = torch.zeros(len(batch.mel), dtype=torch.int64, device=batch.mel.device)
        encoded = self.model.encoder.encode_padded(
            batch.mel, batch.lengths, stride=SILENCE_STRIDE, which=which
        )
        hidden = decode_whole(self.model.decoder, batch.tokens, encoded)
        asked = batch.targets != IGNORED
        logits = self.model.decoder.logits(hidden[asked])
        smoothing = self.label_smoothing if self.training else 0.0
        return functional.cross_entropy(logits, batch.targets[asked], label_smoothing=smoothing)

    def training_step(self, batch: Batch | WholeBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self(batch)
        self.log("train/loss", loss, batch_size=len(batch.mel), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch | WholeBatch, batch_idx: int) -> None:
        """Log the loss of a batch."""
        with self._averaged():
            loss = self(batch)
        self.log("val/loss", loss, batch_size=len(batch.mel), sync_dist=True)

    @torch.no_grad()
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the running mean a step further, if the weights took one."""
        step = self.trainer.global_step
        if not self.ema_decay or step == self._averaged_step:
            return
        self._averaged_step = step
        now = self.adapter_state()
        if self.mean is None:
            self.mean = {name: value.clone() for name, value in now.items()}
        for name, value in now.items():
            self.mean[name].lerp_(value, 1 - self.ema_decay)

    @contextmanager
    def _averaged(self) -> Generator[None, None, None]:
        """Put the mean in the weights' place for a while, where there is one."""
        if self.mean is None:
            yield
            return
        own = {name: value.clone() for name, value in self.adapter_state().items()}
        self._put(self.mean)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, state: dict[str, Tensor]) -> None:
        adapter = LanguageAdapter(self.config, state)
        for index, network in enumerate(self.networks()):
            network.put(0, adapter.layer(index))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW on the adapter, and its schedule.

        Raises:
            ValueError: nothing says when the run ends.
        """
        return make_optimizer(
            self.model.parameters(), self.optimizer_config, self.trainer.max_steps
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the adapter only, and what its user must know: the base is elsewhere."""
        checkpoint["state_dict"] = self.adapter_state()
        checkpoint[ADAPTER_KEY] = asdict(self.config)
        if self.mean is not None:
            checkpoint[MEAN_KEY] = self.mean

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the running mean."""
        mean = checkpoint.get(MEAN_KEY)
        if mean is not None:
            self.mean = {name: value.to(self.device) for name, value in mean.items()}
        self._averaged_step = checkpoint.get("global_step", 0)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load what `on_save_checkpoint` kept.

        Raises:
            ValueError: it is of an adapter of other sizes.
        """
        found = {name: tuple(value.shape) for name, value in state_dict.items()}
        if found != self.config.shapes:
            raise ValueError(
                "the checkpoint is of an adapter of other sizes: take the base and the bottleneck "
                "that it was trained with"
            )
        self._put(state_dict)

"""The training of a codec, alone or against discriminators, as a Lightning module."""

from contextlib import nullcontext
from typing import Any, Literal

import lightning
import torch
from torch import Tensor

from echoic.codecs.codec import Reconstruction
from echoic.codecs.discriminators import Discriminators
from echoic.codecs.losses import GradientBalancer, Judgement, MelLossConfig
from echoic.codecs.training.build import SETTINGS_KEY, build_codec, load_start, whole_settings
from echoic.codecs.training.objective import AdversarialConfig, LossWeights, Objective
from echoic.codecs.training.optimization import (
    AveragedCodec,
    OptimizerConfig,
    make_optimizer,
    step_optimizer,
)
from echoic.codecs.training.watch import Watch

# Losses that reach the codec through its waveform, as opposed to its latents.
_OUTSIDE = ("mel", "complex", "waveform", "perceptual", "adversarial", "feature_matching")


class CodecTask(lightning.LightningModule):
    """Trains any `Codec` by reconstruction, and by discriminators that learn beside it.

    One batch is one step: the discriminators learn from the reconstruction first, then the codec
    from both. `global_step`, and so `max_steps` and the intervals of checkpoints, count the codec's
    updates, which are the batches; those of the discriminators do not count.

    A run that was stopped and goes on from its checkpoint has the losses of one that was not: what
    is drawn in a step depends on nothing but the seed, the step and the process, the learning rate
    on the step alone, and everything that is averaged is in the checkpoint.

    With several processes, use the strategy ddp_find_unused_parameters_true: codec and
    discriminators take turns.

    Args:
        model: see `build_codec`, such as {"kind": "echocodec", "preset": "tiny_16k"}.
        weights: of the losses.
        mel: of the mel loss.
        n_ffts: transforms of the complex loss.
        complex_power: to which it raises magnitudes, see `ComplexStftLoss`.
        listener: of the perceptual loss, such as `echoic.asr.whisper.listener.WhisperListener`.
        discriminators: see `Discriminators`; None for none, and nothing adversarial.
        adversarial: the game.
        optimizer: of the codec.
        discriminator_optimizer: of the discriminators, whose steps count from their start; None
            for the same.
        balance: weights are shares of the gradient (`GradientBalancer`); of losses of the waveform,
            the others are added as they are.
        ema_decay: of the average that is validated and exported; 0 for none.
        ignore_end: samples at the end of each sound that teach nothing, neither the codec nor the
            discriminators: those that a decoder which overlaps its frames cannot finish without
            what comes next.
        autocast: "bfloat16" runs networks in it and losses, transforms and quantizers in float32.
        init_from: checkpoint of an earlier run, folder or name of a codec to start from.
        sounds: validation recordings that the logger hears and sees.
        seed: of everything that is drawn in a step.
    """

    def __init__(
        self,
        model: dict[str, Any],
        weights: LossWeights | None = None,
        mel: MelLossConfig | None = None,
        n_ffts: tuple[int, ...] = (512, 1024, 2048),
        complex_power: float = 1.0,
        listener: torch.nn.Module | None = None,
        discriminators: dict[str, dict[str, Any]] | None = None,
        adversarial: AdversarialConfig | None = None,
        optimizer: OptimizerConfig | None = None,
        discriminator_optimizer: OptimizerConfig | None = None,
        balance: bool = False,
        ema_decay: float = 0.999,
        ignore_end: int = 0,
        autocast: Literal["float32", "bfloat16"] = "float32",
        init_from: str | None = None,
        sounds: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if ignore_end < 0:
            raise ValueError(f"ignore_end is {ignore_end}, expected 0 or more samples")
        self.automatic_optimization = False
        self.settings = whole_settings(model)
        self.codec = build_codec(model)
        if init_from is not None:
            load_start(self.codec, init_from)
        self.average = AveragedCodec(self.codec, ema_decay)
        self.discriminators = Discriminators(discriminators) if discriminators else None
        self.adversarial = AdversarialConfig() if adversarial is None else adversarial
        self.weights = LossWeights() if weights is None else weights
        self.objective = Objective(
            self.codec.sample_rate,
            self.weights,
            mel,
            n_ffts,
            self.adversarial,
            complex_power,
            listener,
        )
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        self.discriminator_config = discriminator_optimizer or self.optimizer_config
        shares = {name: getattr(self.weights, name) for name in _OUTSIDE}
        self.balancer = GradientBalancer(shares) if balance else None
        self.ignore_end = ignore_end
        self.autocast = autocast
        self.seed = seed
        self.watch = Watch(self.codec.sample_rate, self.codec.codebook_size, sounds)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return AdamW of the codec and, if there are any, of the discriminators.

        Raises:
            ValueError: nothing says when the cosine ends, or the data have another sample rate.
        """
        configs = (self.optimizer_config, self.discriminator_config)
        needs_end = any(c.schedule == "cosine" and c.total_steps is None for c in configs)
        if needs_end and self.trainer.max_steps < 1:
            raise ValueError(
                f"trainer.max_steps is {self.trainer.max_steps}, and batches have no end: say how "
                "many steps to take, or total_steps in the optimizer"
            )
        rate = getattr(getattr(self.trainer, "datamodule", None), "sample_rate", None)
        if rate not in (None, self.codec.sample_rate):
            raise ValueError(
                f"the data have {rate} Hz and the codec {self.codec.sample_rate}: set the data's "
                "sample_rate"
            )
        optimizers: list[torch.optim.Optimizer] = [
            make_optimizer(self.codec, self.optimizer_config)
        ]
        if self.discriminators is not None:
            optimizers.append(make_optimizer(self.discriminators, self.discriminator_config))
        return optimizers

    def forward(self, wav: Tensor) -> Reconstruction:
        """Pass sounds (B, T) through the codec that learns."""
        with self._networks(wav):
            made = self.codec(wav)
        return made._replace(wav=made.wav.float())

    def latent_losses(self, wav: Tensor, made: Reconstruction) -> dict[str, Tensor]:
        """Return the losses that reach the codec through its latents, of sounds (B, T)."""
        return {
            "commitment": made.quantized.commitment,
            "codebook": made.quantized.codebook_loss,
        }

    def weight_of(self, name: str, step: int) -> float:
        """Return the weight of a loss at a step."""
        return self.objective.weight(name, step)

    def training_step(self, wav: Tensor, batch_idx: int) -> None:
        """Update discriminators and codec by a batch of sounds (B, T)."""
        step = self.global_step
        torch.manual_seed((self.seed * 1_000_003 + step) * 1009 + self.global_rank)
        whole, made = wav, self(wav)
        wav, fake = self._without_end(wav), self._without_end(made.wav)
        logs: dict[str, Tensor] = {}
        plays = self.discriminators is not None and step >= self.adversarial.start_step
        if plays and step % self.adversarial.discriminator_every == 0:
            logs |= self._update_discriminators(wav, fake.detach(), step)
        with self._networks(wav):
            losses = self.objective.reconstruction(fake, wav)
        if plays:
            losses |= self._against(wav, fake)
        total = self._outside(losses, fake, step)
        inside = self.latent_losses(whole, made)
        for name, loss in inside.items():
            total = total + self.weight_of(name, step) * loss
        logs |= {name: loss.detach() for name, loss in (losses | inside).items()}
        logs |= self._update_codec(total, step)
        self.average.update(self.codec)
        self.log_dict({f"train/{name}": value for name, value in logs.items()})

    def validation_step(self, wav: Tensor, batch_idx: int) -> None:
        """Measure what the averaged codec makes of sounds (B, T)."""
        with self._networks(wav):
            made = self.average.codec(wav)
        wav = self._without_end(wav)
        made = made._replace(wav=self._without_end(made.wav.float()))
        with self._networks(wav):
            values = self.objective.reconstruction(made.wav, wav)
        values |= self.watch.measure(made.wav, wav)
        values["commitment"] = made.quantized.commitment
        self.log_dict(
            {f"val/{name}": value for name, value in values.items()},
            batch_size=wav.shape[0],
            sync_dist=True,
        )
        self.watch.see(wav, made, self.logger, self.global_step)

    def on_validation_epoch_end(self) -> None:
        """Log how much of each book the recordings used."""
        # Every process has the counts of all.
        self.log_dict(self.watch.usage())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which codec it is, so that it can be built without the recipe."""
        checkpoint[SETTINGS_KEY] = self.settings

    def _without_end(self, wav: Tensor) -> Tensor:
        heard = wav.shape[1] - self.ignore_end
        if heard < 1:
            raise ValueError(
                f"sounds have {wav.shape[1]} samples and ignore_end is {self.ignore_end}: nothing "
                "is left; take longer crops"
            )
        return wav[:, :heard]

    def _networks(self, wav: Tensor) -> Any:
        if self.autocast == "float32":
            return nullcontext()
        return torch.autocast(wav.device.type, dtype=torch.bfloat16)

    def _judge(self, wav: Tensor) -> dict[str, list[Judgement]]:
        assert self.discriminators is not None
        with self._networks(wav):
            return self.discriminators(wav)

    def _optimizer(self, index: int, config: OptimizerConfig, step: int) -> Any:
        """Return an optimizer with the learning rate of a step; counted by Lightning if first."""
        found = self.optimizers(use_pl_optimizer=index == 0)
        optimizer = found[index] if isinstance(found, list) else found
        rate = config.rate(step, config.total_steps or self.trainer.max_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return optimizer

    def _update_discriminators(self, wav: Tensor, fake: Tensor, step: int) -> dict[str, Tensor]:
        assert self.discriminators is not None
        config = self.discriminator_config
        optimizer = self._optimizer(1, config, step - self.adversarial.start_step)
        loss = self.objective.discriminators(self._judge(wav), self._judge(fake))
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        norm = step_optimizer(optimizer, config)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"discriminator": loss.detach(), "discriminator_norm": norm}

    def _against(self, wav: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return what the codec learns from the discriminators, which learn nothing from it."""
        assert self.discriminators is not None
        self.discriminators.requires_grad_(False)
        try:
            with torch.no_grad():
                real = self._judge(wav)
            return self.objective.against(real, self._judge(fake))
        finally:
            self.discriminators.requires_grad_(True)

    def _update_codec(self, total: Tensor, step: int) -> dict[str, Tensor]:
        config = self.optimizer_config
        optimizer = self._optimizer(0, config, step)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(total)
        norm = step_optimizer(optimizer, config)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        rate = torch.tensor(optimizer.param_groups[0]["lr"])
        return {"total": total.detach(), "norm": norm, "learning_rate": rate}

    def _outside(self, losses: dict[str, Tensor], wav: Tensor, step: int) -> Tensor:
        """Return one number whose gradient is that of all losses of the waveform."""
        if self.balancer is None:
            total = wav.new_zeros(())
            for name, loss in losses.items():
                total = total + self.weight_of(name, step) * loss
            return total
        ramp = self.adversarial.ramp(step)
        for name in ("adversarial", "feature_matching"):
            self.balancer.loss_weights[name] = getattr(self.weights, name) * ramp
        return (wav * self.balancer(losses, wav).detach()).sum()

"""The training of a Paraformer as a Lightning module."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.streaming.decoder import check_decoder
from echoic.asr.paraformer.streaming.whole import streaming_predictor
from echoic.asr.paraformer.training.answers import Answers
from echoic.asr.paraformer.training.build import build
from echoic.asr.paraformer.training.chunked import ChunkedBatches
from echoic.asr.paraformer.training.data import Batch
from echoic.asr.paraformer.training.datamodule import ParaformerData
from echoic.asr.paraformer.training.export import MODEL_KEY, any_model, describe
from echoic.asr.paraformer.training.from_whisper import start_encoder_from
from echoic.asr.paraformer.training.imitation import Imitation, Imitator
from echoic.asr.paraformer.training.objective import Glancing, Mwer, StepLosses, step_losses
from echoic.asr.paraformer.training.optimization import (
    AveragedModel,
    OptimizerConfig,
    clip,
    make_optimizer,
)
from echoic.asr.whisper.model import WhisperModel
from echoic.audio.augment import SpecAugment, generator_for

# Batches among which every way to cut them is found, but for one that is hardly ever drawn.
_DRAWN = 200


class ParaformerTask(lightning.LightningModule):
    """Trains a Paraformer from nothing or from an earlier one.

    What is drawn in a step depends on the seed and the number of the batch alone: a run that was
    stopped and goes on from its checkpoint has the losses of one that was not.

    With several processes, an encoder that rests and `imitation`, which ends, need the strategy
    ddp_find_unused_parameters_true: they leave weights without gradients.

    Args:
        model: see `model_config`, such as {"preset": "tiny"}; None for that of `init_from`. Weights
            of cross entropy, length and CTC are its section `objective`.
        vocabulary: folder made by `python -m echoic.recipes.prepare.vocabulary`; None for that of
            `init_from`.
        cmvn: file made by `python -m echoic.recipes.prepare.cmvn`; None for that of `init_from`.
        optimizer: how it learns.
        chunks: cuts for a model that also streams, its own cut first; None for whole utterances
            alone.
        spec_augment: strips of the features that are hidden; None for none.
        glancing: a share of the sampler that changes with time; None for the model's own.
        consistency: weight of CR-CTC beside the CTC loss, such as 0.2: each utterance is seen twice
            under different strips, so a batch costs twice as much. 0 for one view.
        mwer: expected errors, for a stage that goes on from a trained model; None for none.
        imitation: a teacher of the encoder, for the first steps of a model that starts from
            nothing; None for none.
        ema_decay: of the average that is validated and exported; 0 for none.
        encoder_from: a Whisper, by its name in the box, Hugging Face id or folder, whose encoder
            the model begins with; None for random weights.
        init_from: checkpoint of an earlier run, folder or name of a model to start from.
        seed: of everything that is drawn in a step.

    Raises:
        ValueError: options that exclude each other, or miss each other.
    """

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        vocabulary: str | None = None,
        cmvn: str | None = None,
        optimizer: OptimizerConfig | None = None,
        chunks: ChunkedBatches | None = None,
        spec_augment: SpecAugment | None = None,
        glancing: Glancing | None = None,
        consistency: float = 0.0,
        mwer: Mwer | None = None,
        imitation: Imitation | None = None,
        ema_decay: float = 0.999,
        encoder_from: str | None = None,
        init_from: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if init_from is not None and encoder_from is not None:
            raise ValueError("init_from and encoder_from both say what to start from: give one")
        start = None if init_from is None else any_model(init_from)
        cut = None if chunks is None else chunks.cuts[0]
        self.model = build(model, vocabulary, cmvn, start, init_from, cut).train()
        if encoder_from is not None:
            start_encoder_from(self.model, encoder_from)
        if consistency < 0 or (
            consistency and (spec_augment is None or not self.model.config.has_ctc)
        ):
            raise ValueError(
                f"consistency is {consistency}: it needs a weight of 0 or more, objective.ctc "
                "above 0 and spec_augment, without which both views are one"
            )
        if chunks is not None:
            for one in chunks.cuts:
                streaming_predictor(self.model.predictor, one)
            check_decoder(self.model.decoder)
        if mwer is not None and glancing is not None:
            raise ValueError("mwer mixes no labels in: leave glancing out")
        self.average = AveragedModel(self.model, ema_decay) if ema_decay else None
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        self.chunks = chunks
        self.spec_augment = spec_augment
        self.glancing = glancing
        self.consistency = consistency
        self.mwer = mwer
        self.imitation = imitation
        self.imitator = None if imitation is None else self._imitator(imitation)
        self.seed = seed
        self.answers = Answers()

    @property
    def best(self) -> Paraformer:
        """The model that is validated: the average, where there is one."""
        return self.model if self.average is None else self.average.model

    def numbers_of_each_kind(self) -> list[int]:
        """Return numbers of batches of which each is cut in another way: what steps may cost."""
        if self.chunks is None:
            return [0]
        found: dict[object, int] = {}
        for number in range(_DRAWN):
            found.setdefault(self.chunks.draw(f"{self.seed}/{number}"), number)
        return list(found.values())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Spare an encoder that rests its gradients."""
        del batch, batch_idx
        learns = self.global_step >= self.optimizer_config.encoder_rest
        self.model.encoder.requires_grad_(learns)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        torch.manual_seed(self.seed * 1_000_003 + batch.number)
        views, lengths, labels, label_lengths = self._views(batch)
        generator = generator_for(f"{self.seed}/{batch.number}", "sampler")
        done = self.model.teach(
            views,
            lengths,
            labels,
            label_lengths,
            generator,
            self._sampling(),
            None if self.chunks is None else self.chunks.draw(f"{self.seed}/{batch.number}"),
        )
        losses = step_losses(
            self.model,
            done,
            lengths,
            labels,
            label_lengths,
            consistency=self.consistency,
            mwer=self.mwer,
            generator=generator,
        )
        self._log("train", losses, batch)
        return losses.total + self._imitate(done.hidden, lengths, batch)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the average follow each step, before any checkpoint of it is written."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the losses of a batch, and hear what the model makes of it by itself."""
        model = self.best
        features, lengths = self._features(model, batch.wav, batch.samples)
        generator = generator_for(f"{self.seed}/{batch.number}", "validation")
        done = model.teach(features, lengths, batch.labels, batch.label_lengths, generator)
        losses = step_losses(model, done, lengths, batch.labels, batch.label_lengths)
        self._log("val", losses, batch)
        found = model.recognize(features, lengths)
        self.answers.add(batch.texts, [recognition.text for recognition in found])

    def on_validation_epoch_end(self) -> None:
        """Log the error rates of free recognition, over all processes."""
        # Sums, since a mean of the processes' rates is no rate.
        sums = self.all_gather(self.answers.sums().to(self.device))
        assert isinstance(sums, Tensor)
        words, word_errors, characters, character_errors = sums.view(-1, 4).sum(0).tolist()
        self.answers.clear()
        if words:
            rates = {"wer": word_errors / words, "cer": character_errors / characters}
            self.log_dict({f"val/{name}": rate for name, rate in rates.items()})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule.

        Raises:
            ValueError: nothing says when the cosine ends, or the data are not the model's.
        """
        config = self.optimizer_config
        total = config.total_steps or self.trainer.max_steps
        if config.schedule == "cosine" and total < 1:
            raise ValueError(
                f"trainer.max_steps is {total}, and batches have no end: say how many steps to "
                "take, or total_steps in the optimizer"
            )
        self._check_data()
        learners: list[nn.Module] = [m for m in (self.model, self.imitator) if m is not None]
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = make_optimizer(self.model.encoder, learners, config, scaled=scaled)
        shares = [config.share_of_encoder] * 2 + [config.share] * 2
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, [partial(_at_step, share, total) for share in shares]
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

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
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        longest = gradient_clip_val or self.optimizer_config.clip_norm
        rate = optimizer.param_groups[-1]["lr"]
        self.log_dict({"train/norm": clip(weights, longest), "train/learning_rate": rate})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is, so that it can be built without the recipe."""
        checkpoint[MODEL_KEY] = describe(self.model)

    def _imitator(self, imitation: Imitation) -> Imitator:
        teacher = WhisperModel.from_pretrained(imitation.teacher)
        config = self.model.config
        return Imitator(teacher, config.encoder.dim, config.frontend, cache=imitation.cache)

    def _imitate(self, hidden: Tensor, lengths: Tensor, batch: Batch) -> Tensor | float:
        """Return the weighed distance from the teacher; 0 where there is none, or none any more."""
        weight = 0.0 if self.imitation is None else self.imitation.at(self.global_step)
        if not weight or self.imitator is None:
            return 0.0
        targets = self.imitator.targets(batch.wav, batch.samples, hidden.shape[1])
        views = len(hidden) // len(targets)
        loss = self.imitator(hidden, lengths, targets.repeat(views, 1, 1))
        self.log("train/imitation", loss, batch_size=len(batch.wav))
        return weight * loss

    def _sampling(self) -> float | None:
        """Return the share of the sampler at this step, None for the model's own."""
        if self.mwer is not None:
            return 0.0
        return None if self.glancing is None else self.glancing.at(self.global_step)

    def _views(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features (V * B, T, F) of one view or two, their lengths, labels and lengths."""
        features, lengths = self._features(self.model, batch.wav, batch.samples)
        views = 2 if self.consistency else 1
        if self.spec_augment is not None:
            generator = generator_for(f"{self.seed}/{batch.number}", "spec_augment")
            seen = [self.spec_augment(features, generator, lengths) for _ in range(views)]
            features = torch.cat(seen)
        return (
            features,
            lengths.repeat(views),
            batch.labels.repeat(views, 1),
            batch.label_lengths.repeat(views),
        )

    def _features(self, model: Paraformer, wav: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        # In full precision: a logarithm of bfloat16 is a coarse thing.
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            return model.frontend(wav, samples)

    def _log(self, stage: str, losses: StepLosses, batch: Batch) -> None:
        values = {f"{stage}/{name}": value for name, value in losses.parts().items()}
        self.log_dict(values, batch_size=len(batch.wav), sync_dist=stage == "val")

    def _check_data(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, ParaformerData):
            return
        if data.tokenizer.tokens != self.model.tokenizer.tokens:
            raise ValueError(
                f"the data are written in a vocabulary of {len(data.tokenizer)} tokens, the model "
                f"in another of {len(self.model.tokenizer)}: name the same folder in both"
            )
        if data.frontend != self.model.config.frontend:
            raise ValueError("data.frontend is not model.frontend: give both the same values")


def _at_step(share: Callable[[int, int], float], total: int, step: int) -> float:
    return share(step, total)

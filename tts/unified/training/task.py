"""The training of a unified model as Lightning modules: predicting what comes, and preferring."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.training.learner import Learner
from echoic.tts.unified.build import build
from echoic.tts.unified.config import UnifiedSettings
from echoic.tts.unified.files import Unified
from echoic.tts.unified.model import UnifiedLM
from echoic.tts.unified.text_ids import TextIds
from echoic.tts.unified.training.data import CodesData
from echoic.tts.unified.training.loss import (
    TokenLosses,
    document_log_probs,
    token_losses,
    weighted_mean,
)
from echoic.tts.unified.training.packing import Pack
from echoic.tts.unified.training.preference import (
    LogProbs,
    PreferenceConfig,
    PreferenceLosses,
    preference_losses,
)
from echoic.tts.unified.training.preference_data import PreferenceBatch
from echoic.tts.unified.training.reference import Reference

#: What a checkpoint holds beside Lightning's own keys.
SETTINGS_KEY = "unified_lm_settings"
MODEL_PREFIX = "model."


class UnifiedTask(Learner):
    """Trains a unified model to say what comes next: pre-training and fine-tuning, by its data.

    What is drawn in a step depends on the seed and the number of the batch alone: a run that was
    stopped and goes on from its checkpoint has the losses of one that was not. Checkpoints hold
    what learns; what is frozen is read again from `model.base`.

    Args:
        model: which LLM, and how much of it learns.
        optimizer: how it learns.
        piece: targets whose scores are held in memory at once.
        seed: of the weights that are drawn, and of everything that is drawn in a step.
    """

    def __init__(
        self,
        model: UnifiedSettings,
        optimizer: OptimizerConfig | None = None,
        piece: int = 4096,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, seed)
        self.settings = model
        self.piece = piece
        self.model: UnifiedLM | None = None
        self._text: TextIds | None = None
        self._codec_hash = ""

    @property
    def unified(self) -> Unified:
        """What learns, and how it reads; there is none before the data are known."""
        if self.model is None or self._text is None:
            raise RuntimeError("the model is made when its data are known: fit it first")
        return Unified(self.model, self._text, self._codec_hash)

    @property
    def learns(self) -> UnifiedLM:
        """What learns, and what of it is frozen."""
        return self.unified.model

    def configure_model(self) -> None:
        """Make the model for the data's codes.

        Raises:
            ValueError: data of another kind, or a base that is for other codes.
        """
        if self.model is not None:
            return
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, CodesData):
            raise ValueError("unified models learn from UnifiedData or PreferenceData")
        codes = data.codes()
        made = build(self.settings, codes.format, codes.codec_hash, seed=self.seed)
        self.model, self._text, self._codec_hash = made.model, made.text, codes.codec_hash

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        self.draw_for(batch.number)
        if not isinstance(batch, Pack):
            raise ValueError("this task learns from UnifiedData; AlignTask learns from pairs")
        found = token_losses(self.unified.model, batch, self.piece)
        self._log("train", found, batch)
        return weighted_mean(found)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the losses of a batch."""
        self._log("val", token_losses(self.unified.model, batch, self.piece), batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is, so that it can be built without the recipe; drop the frozen."""
        unified = self.unified
        checkpoint[SETTINGS_KEY] = {
            "model": asdict(self.settings),
            "format": asdict(unified.model.vocabulary.format),
            "codec_hash": self._codec_hash,
            "seed": self.seed,
        }
        state = checkpoint["state_dict"]
        for name in self._frozen():
            state.pop(name, None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Fill in what is frozen: it is here already."""
        own = self.state_dict()
        checkpoint["state_dict"].update({name: own[name] for name in self._frozen()})

    def _frozen(self) -> set[str]:
        learned = {n for n, p in self.named_parameters(remove_duplicate=False) if p.requires_grad}
        return set(self.state_dict()) - learned

    def _log(self, stage: str, found: TokenLosses, batch: Pack) -> None:
        values = {f"{stage}/loss": weighted_mean(found)}
        for name, which in (("audio", found.audio), ("text", ~found.audio)):
            if bool(which.any()):
                values[f"{stage}/{name}"] = found.losses[which].mean()
        if stage == "train":
            values["train/filled"] = (batch.documents >= 0).float().mean()
        self.log_dict(
            {name: value.detach() for name, value in values.items()},
            batch_size=len(batch.ids),
            sync_dist=stage == "val",
        )


class AlignTask(UnifiedTask):
    """Trains a unified model to prefer the better of two answers, see `preference`.

    What it found likely before it learned is the reference: with LoRA the same model without its
    adapters and with the rows of speech that it began with, else a frozen copy.

    Args:
        model: see `UnifiedTask`; `base` is the folder of an earlier stage.
        preference: what is preferred how much.
        optimizer: how it learns.
        piece: see `UnifiedTask`.
        seed: see `UnifiedTask`.
    """

    def __init__(
        self,
        model: UnifiedSettings,
        preference: PreferenceConfig | None = None,
        optimizer: OptimizerConfig | None = None,
        piece: int = 4096,
        seed: int = 0,
    ) -> None:
        super().__init__(model, optimizer, piece, seed)
        self.preference = PreferenceConfig() if preference is None else preference
        self.reference: Reference | None = None

    def configure_model(self) -> None:
        """Make the model for the data's codes, and its reference."""
        super().configure_model()
        if self.reference is None:
            self.reference = Reference(self.unified.model)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        self.draw_for(batch.number)
        losses = self._preferences(batch)
        self._tell("train", losses, batch.pairs)
        return losses.total

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the losses of a batch."""
        self._tell("val", self._preferences(batch), batch.pairs)

    def _preferences(self, batch: Any) -> PreferenceLosses:
        if not isinstance(batch, PreferenceBatch):
            raise ValueError("this task learns from PreferenceData; UnifiedTask from all else")
        model, reference = self.unified.model, self.reference
        assert reference is not None
        with torch.no_grad(), reference.of(model) as before:
            known = self._log_probs(before, batch)
        return preference_losses(self._log_probs(model, batch), known, self.preference)

    def _log_probs(self, model: UnifiedLM, batch: PreferenceBatch) -> LogProbs:
        found = token_losses(model, batch.pack, self.piece)
        both = document_log_probs(found, 2 * batch.pairs, average=self.preference.average)
        return LogProbs(both[0::2], both[1::2])

    def _tell(self, stage: str, losses: PreferenceLosses, pairs: int) -> None:
        values = {"loss" if k == "total" else k: v.detach() for k, v in losses._asdict().items()}
        self.log_dict(
            {f"{stage}/{name}": value for name, value in values.items()},
            batch_size=pairs,
            sync_dist=stage == "val",
        )

"""The training of a speech language model as a Lightning module."""

from dataclasses import asdict
from typing import Any

from torch import Tensor

from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.alignment.files import ALIGNER, load_units
from echoic.tts.lm.files import load_speech_lm
from echoic.tts.lm.loss import SpeechLosses, speech_losses
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.speech_config import SpeechLMConfig
from echoic.tts.text.alphabet import alphabet_from_config
from echoic.tts.training.average import Average
from echoic.tts.training.data import SpeechBatch, SpeechData
from echoic.tts.training.learner import Learner

#: What a checkpoint holds beside Lightning's own keys.
SETTINGS_KEY = "speech_lm_settings"
UNITS_KEY = "speech_lm_units"
MODEL_PREFIX = "_model."
AVERAGE_PREFIX = "average.model."


class SpeechTask(Learner):
    """Trains a speech language model from nothing, or from an earlier one.

    What is drawn in a step depends on the seed and the number of the batch alone: a run that was
    stopped and goes on from its checkpoint has the losses of one that was not.

    Args:
        model: sections `backbone` and `depth` and fields of `SpeechLMConfig` that differ from its
            own; frames and ids of the text are those of the data.
        optimizer: how it learns.
        ema_decay: of the average that is validated and exported; 0 for none.
        init_from: folder of a model to start from; None for random weights.
        seed: of everything that is drawn in a step.
    """

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        optimizer: OptimizerConfig | None = None,
        ema_decay: float = 0.999,
        init_from: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, seed)
        self.settings = model or {}
        self.ema_decay = ema_decay
        self.init_from = init_from
        self._model: SpeechLM | None = None

    @property
    def model(self) -> SpeechLM:
        """What learns; there is none before the data are known."""
        if self._model is None:
            raise RuntimeError("the model is made when its data are known: fit it first")
        return self._model

    @property
    def learns(self) -> SpeechLM:
        """What learns."""
        return self.model

    @property
    def best(self) -> SpeechLM:
        """What is validated: the average, where there is one."""
        average = None if self.average is None else self.average.model
        return average if isinstance(average, SpeechLM) else self.model

    def configure_model(self) -> None:
        """Make the model for the data's frames and alphabet.

        Raises:
            ValueError: no `SpeechData`, or a model to start from that is for other data.
        """
        if self._model is not None:
            return
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SpeechData):
            raise ValueError("speech language models learn from SpeechData: name it in the recipe")
        data.aligned = self.settings.get("text") == "along"
        data.check()
        corpus = data.corpus(data.train[0]).settings
        self._reading = {
            "alphabet": corpus.alphabet,
            "codec_hash": corpus.codec_hash,
            "language": corpus.language,
            "g2p": corpus.g2p,
        }
        aligner = data.corpus(data.train[0]).folder / ALIGNER
        self._units = load_units(aligner) if data.aligned and aligner.exists() else None
        config = SpeechLMConfig.from_dict(
            {
                **self.settings,
                "frames": asdict(corpus.format),
                "text_size": alphabet_from_config(corpus.alphabet).size,
            }
        )
        made = SpeechLM(config)
        if self.init_from is not None:
            start = load_speech_lm(self.init_from)
            if start.config != config:
                raise ValueError(
                    f"{self.init_from} has other settings than this recipe and its data: give both "
                    "the same"
                )
            made.load_state_dict(start.state_dict())
        self._model = made.train()
        if self.ema_decay:
            self.average = Average(made, self.ema_decay)

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        self.draw_for(batch.number)
        losses = _losses(self.model, batch)
        self._log("train", losses, batch)
        return losses.total

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        """Log the losses of a batch."""
        self._log("val", _losses(self.best, batch), batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is, so that it can be built without the recipe."""
        checkpoint[SETTINGS_KEY] = {"lm": self.model.config.to_dict(), **self._reading}
        if self._units is not None:
            checkpoint[UNITS_KEY] = self._units._asdict()

    def _log(self, stage: str, losses: SpeechLosses, batch: SpeechBatch) -> None:
        values = {
            f"{stage}/total": losses.total,
            f"{stage}/first": losses.first,
            f"{stage}/rest": losses.rest,
            f"{stage}/accuracy": losses.accuracy,
        }
        if batch.starts is not None and self.model.config.text == "along":
            values[f"{stage}/moves"] = losses.moves
        self.log_dict(
            {name: value.detach() for name, value in values.items()},
            batch_size=len(batch.text),
            sync_dist=stage == "val",
        )


def _losses(model: SpeechLM, batch: SpeechBatch) -> SpeechLosses:
    spoken = model(batch.text, batch.text_lengths, batch.steps, batch.step_lengths, batch.starts)
    return speech_losses(
        model, spoken, batch.steps, batch.step_lengths, batch.starts, batch.text_lengths
    )

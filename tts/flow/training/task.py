"""The training of a flow as a Lightning module."""

from dataclasses import asdict
from typing import Any, ClassVar

from torch import Tensor

from echoic.audio.augment import generator_for
from echoic.codecs.registry import load_codec
from echoic.codecs.settings import build
from echoic.codecs.training.optimization import OptimizerConfig
from echoic.codecs.weights import weights_hash
from echoic.tts.flow.coder import Coder
from echoic.tts.flow.config import FlowConfig
from echoic.tts.flow.model import FlowModel
from echoic.tts.flow.training.data import FlowBatch
from echoic.tts.flow.training.learner import ModelLearner
from echoic.tts.flow.training.loss import FlowLoss, FlowLossConfig, flow_loss
from echoic.tts.tokens import FrameFormat

#: What a checkpoint holds beside Lightning's own keys.
SETTINGS_KEY = "flow_settings"


class FlowTask(ModelLearner[FlowModel]):
    """Trains a flow from recordings to their own spectra, by the codes that a codec gives them.

    What is drawn in a step depends on the seed and the number of the batch alone: a run that was
    stopped and goes on from its checkpoint has the losses of one that was not.

    Args:
        model: sections and fields of `FlowConfig` that differ from its own; the frames are the
            codec's.
        codec: name, id or folder; it is not trained.
        n_q: codes of a frame, the first ones; None for all of them.
        loss: what is drawn for each utterance.
        optimizer: how it learns.
        ema_decay: of the average that is validated and exported; 0 for none.
        seed: of everything that is drawn in a step.

    Raises:
        CodecError: the codec cannot be loaded.
        ValueError: settings that do not fit.
    """

    settings_key: ClassVar[str] = SETTINGS_KEY

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        codec: str = "echo-16k-tiny",
        n_q: int | None = None,
        loss: FlowLossConfig | None = None,
        optimizer: OptimizerConfig | None = None,
        ema_decay: float = 0.999,
        seed: int = 0,
    ) -> None:
        found = load_codec(codec)
        books = found.check_n_q(n_q)
        form = FrameFormat(books, found.codebook_size, found.frame_rate, found.num_groups, codec)
        config = build(FlowConfig, {**(model or {}), "frames": asdict(form)}, "model.")
        super().__init__(FlowModel(config), optimizer, ema_decay, seed)
        self.loss_config = FlowLossConfig() if loss is None else loss
        self.codec_hash = weights_hash(found)
        self.coder = Coder(found, config)

    def about(self) -> dict[str, Any]:
        """Return settings of the flow, and which codec it is for."""
        return {"flow": asdict(self.model.config), "codec_hash": self.codec_hash}

    def on_fit_start(self) -> None:
        """Look whether model and data belong together.

        Raises:
            ValueError: another sample rate.
        """
        self.check_rate(self.coder.sample_rate)

    def training_step(self, batch: FlowBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        self.draw_for(batch.number)
        loss = self._loss(self.model, batch, "train")
        frames = 0 if loss.chunk is None else loss.chunk
        values = {"train/total": loss.total.detach(), "train/chunk": float(frames)}
        self.log_dict(values, batch_size=len(batch.wav))
        return loss.total

    def validation_step(self, batch: FlowBatch, batch_idx: int) -> None:
        """Log the loss of a batch; what is drawn for it is the same each time."""
        loss = self._loss(self.best, batch, "val")
        self.log_dict({"val/total": loss.total}, batch_size=len(batch.wav), sync_dist=True)

    def _loss(self, model: FlowModel, batch: FlowBatch, stage: str) -> FlowLoss:
        wanted, found = model.config.speaker_dim, batch.speakers.shape[1]
        if wanted != found:
            raise ValueError(
                f"the data have speakers' vectors of {found} numbers and the model's speaker_dim "
                f"is {wanted}: give both the same"
            )
        coded = self.coder.to(self.device)(batch.wav, batch.lengths)
        generator = generator_for(self.seed, f"{stage} {batch.number}")
        return flow_loss(model, coded, batch.speakers, self.loss_config, generator)

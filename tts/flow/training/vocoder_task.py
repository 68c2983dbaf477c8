"""The training of a vocoder as a Lightning module."""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from echoic.codecs.losses import MelLossConfig
from echoic.codecs.settings import build
from echoic.codecs.training.objective import AdversarialConfig, LossWeights, Objective
from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.flow.coder import Spectra
from echoic.tts.flow.training.learner import ModelLearner
from echoic.tts.flow.vocoder import Vocoder, VocoderConfig

#: What a checkpoint holds beside Lightning's own keys.
SETTINGS_KEY = "vocoder_settings"


@dataclass(frozen=True, slots=True)
class VocoderWeights:
    """How much each distance counts; 0 switches it off, and it is not computed.

    Attributes:
        mel: see `echoic.codecs.losses.MelLoss`.
        complex: see `echoic.codecs.losses.ComplexStftLoss`.
        perceptual: see `echoic.codecs.losses.PerceptualLoss`; needs a listener.

    Raises:
        ValueError: below 0, or all 0.
    """

    mel: float = 1.0
    complex: float = 0.2
    perceptual: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if min(values) < 0 or not any(values):
            raise ValueError(f"{self}: expected 0 or more, and one more than 0")


class VocoderTask(ModelLearner[Vocoder]):
    """Trains a vocoder by the distance between recordings and what it makes of their spectra.

    Args:
        model: sections and fields of `VocoderConfig` that differ from its own.
        weights: of the distances.
        mel: which mel spectrograms are compared.
        n_ffts: transforms of the complex distance.
        complex_power: to which it raises magnitudes.
        listener: of the perceptual distance, such as
            `echoic.asr.whisper.listener.WhisperListener`.
        optimizer: how it learns.
        ema_decay: of the average that is validated and exported; 0 for none.
        seed: of everything that is drawn in a step.

    Raises:
        ValueError: settings that do not fit.
    """

    settings_key: ClassVar[str] = SETTINGS_KEY

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        weights: VocoderWeights | None = None,
        mel: MelLossConfig | None = None,
        n_ffts: tuple[int, ...] = (512, 1024, 2048),
        complex_power: float = 0.3,
        listener: torch.nn.Module | None = None,
        optimizer: OptimizerConfig | None = None,
        ema_decay: float = 0.999,
        seed: int = 0,
    ) -> None:
        config = build(VocoderConfig, model or {}, "model.")
        super().__init__(Vocoder(config), optimizer, ema_decay, seed)
        self.weights = VocoderWeights() if weights is None else weights
        self.sample_rate = config.mels.mel.sample_rate
        self.spectra = Spectra(config.mels)
        none = dict.fromkeys((field.name for field in fields(LossWeights)), 0.0)
        self.objective = Objective(
            self.sample_rate,
            LossWeights(**(none | asdict(self.weights))),
            mel,
            n_ffts,
            AdversarialConfig(),
            complex_power,
            listener,
        )

    def about(self) -> dict[str, Any]:
        """Return settings of the vocoder."""
        return {"vocoder": asdict(self.model.config)}

    def on_fit_start(self) -> None:
        """Look whether model and data belong together.

        Raises:
            ValueError: another sample rate.
        """
        self.check_rate(self.sample_rate)

    def training_step(self, wav: Tensor, batch_idx: int) -> Tensor:
        """Return the distance of sounds (B, T)."""
        return self._distance(self.model, wav, "train")

    def validation_step(self, wav: Tensor, batch_idx: int) -> None:
        """Log the distances of sounds (B, T)."""
        self._distance(self.best, wav, "val")

    def _distance(self, model: Vocoder, wav: Tensor, stage: str) -> Tensor:
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            mels = self.spectra(wav)
        made = model(mels).float()
        found = self.objective.reconstruction(made, wav[:, : made.shape[1]])
        total = made.new_zeros(())
        for name, value in found.items():
            total = total + self.objective.weight(name, self.global_step) * value
        logs = {f"{stage}/{name}": value.detach() for name, value in found.items()}
        logs[f"{stage}/total"] = total.detach()
        self.log_dict(logs, batch_size=len(wav), sync_dist=stage == "val")
        return total

"""The losses of a codec, by name, and the weights that make one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from torch import Tensor, nn

from echoic.codecs.losses import (
    AdversarialKind,
    ComplexStftLoss,
    Judgement,
    MelLoss,
    MelLossConfig,
    PerceptualLoss,
    Reduction,
    discriminator_loss,
    feature_matching,
    generator_loss,
)
from echoic.codecs.losses.adversarial import check_adversarial


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each loss counts; 0 switches it off, and it is not computed.

    Attributes:
        mel: `MelLoss`.
        complex: `ComplexStftLoss`.
        waveform: mean absolute difference of samples.
        perceptual: `PerceptualLoss`, which needs a listener.
        adversarial: to be taken for real by the discriminators.
        feature_matching: to look the same inside them.
        commitment: of the encoder to its codes.
        codebook: of the books to the encoder, where they learn by gradient.
    """

    mel: float = 15.0
    complex: float = 0.0
    waveform: float = 0.0
    perceptual: float = 0.0
    adversarial: float = 1.0
    feature_matching: float = 2.0
    commitment: float = 0.25
    codebook: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(
                    f"weight {field.name} is {getattr(self, field.name)}, expected 0 or more"
                )


@dataclass(frozen=True, slots=True)
class AdversarialConfig:
    """The game with the discriminators.

    Attributes:
        kind: see `discriminator_loss`.
        reduction: over the discriminators of a family.
        families: over families such as MPD and MS-STFT.
        normalized: see `feature_matching`.
        start_step: the discriminators wait, and are not even computed, until this step.
        ramp_steps: in which the weights of their losses rise after that.
        discriminator_every: the discriminators learn at every n-th step only.
    """

    kind: AdversarialKind = "lsgan"
    reduction: Reduction = "sum"
    families: Reduction = "sum"
    normalized: bool = False
    start_step: int = 0
    ramp_steps: int = 0
    discriminator_every: int = 1

    def __post_init__(self) -> None:
        check_adversarial(self.kind)
        if self.start_step < 0 or self.ramp_steps < 0 or self.discriminator_every < 1:
            raise ValueError(
                f"start_step {self.start_step}, ramp_steps {self.ramp_steps}, discriminator_every "
                f"{self.discriminator_every}: expected 0 or more, 0 or more, 1 or more"
            )

    def ramp(self, step: int) -> float:
        """Return the share of the adversarial weights at a step, 0 to 1."""
        if self.ramp_steps == 0:
            return float(step >= self.start_step)
        return min(1.0, max(0.0, (step - self.start_step + 1) / self.ramp_steps))


class Objective(nn.Module):
    """Computes the losses that have a weight.

    Args:
        sample_rate: of the sounds, in Hz.
        weights: of the losses.
        mel: which mel spectrograms.
        n_ffts: transforms of the complex spectra.
        adversarial: the game.
        complex_power: to which the magnitudes of complex spectra are raised.
        listener: of the perceptual loss, see `PerceptualLoss`.

    Raises:
        ValueError: a perceptual loss without a listener, or a listener of another sample rate.
    """

    def __init__(
        self,
        sample_rate: int,
        weights: LossWeights,
        mel: MelLossConfig | None,
        n_ffts: Sequence[int],
        adversarial: AdversarialConfig,
        complex_power: float = 1.0,
        listener: nn.Module | None = None,
    ) -> None:
        super().__init__()
        _check_listener(listener, weights, sample_rate)
        self.weights = weights
        self.adversarial = adversarial
        self.mel = MelLoss(sample_rate, mel)
        self.complex = ComplexStftLoss(n_ffts, power=complex_power)
        self.perceptual = None if listener is None else PerceptualLoss(listener)

    def reconstruction(self, wav: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the distances of sounds (B, T)."""
        losses = {}
        if self.weights.mel:
            losses["mel"] = self.mel(wav, target)
        if self.weights.complex:
            losses["complex"] = self.complex(wav, target)
        if self.weights.waveform:
            losses["waveform"] = (wav.float() - target.float()).abs().mean()
        if self.weights.perceptual and self.perceptual is not None:
            losses["perceptual"] = self.perceptual(wav, target)
        return losses

    def discriminators(
        self, real: Mapping[str, list[Judgement]], fake: Mapping[str, list[Judgement]]
    ) -> Tensor:
        """Return the loss of all families."""
        config = self.adversarial
        return self._over_families(
            [
                discriminator_loss(real[name], fake[name], config.kind, config.reduction)
                for name in real
            ]
        )

    def against(
        self, real: Mapping[str, list[Judgement]], fake: Mapping[str, list[Judgement]]
    ) -> dict[str, Tensor]:
        """Return what the codec learns from the discriminators."""
        config, losses = self.adversarial, {}
        if self.weights.adversarial:
            losses["adversarial"] = self._over_families(
                [generator_loss(fake[name], config.kind, config.reduction) for name in fake]
            )
        if self.weights.feature_matching:
            distances = [
                feature_matching(
                    real[name],
                    fake[name],
                    normalized=config.normalized,
                    reduction=config.reduction,
                )
                for name in fake
            ]
            losses["feature_matching"] = self._over_families(distances)
        return losses

    def weight(self, name: str, step: int) -> float:
        """Return the weight of a loss at a step."""
        weight = getattr(self.weights, name)
        if name in ("adversarial", "feature_matching"):
            return weight * self.adversarial.ramp(step)
        return weight

    def _over_families(self, losses: Sequence[Tensor]) -> Tensor:
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        return total / len(losses) if self.adversarial.families == "mean" else total


def _check_listener(listener: nn.Module | None, weights: LossWeights, sample_rate: int) -> None:
    if weights.perceptual and listener is None:
        raise ValueError(
            f"weight perceptual is {weights.perceptual} and nobody listens: name a listener, such "
            "as echoic.asr.whisper.listener.WhisperListener"
        )
    rate = getattr(listener, "sample_rate", sample_rate)
    if rate != sample_rate:
        raise ValueError(f"the listener hears {rate} Hz and the codec has {sample_rate}")

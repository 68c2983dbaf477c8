"""What codecs are trained by: distances of spectra and waveforms, and adversarial losses."""

from echoic.codecs.losses.adversarial import (
    AdversarialKind,
    Judgement,
    Reduction,
    discriminator_loss,
    feature_matching,
    generator_loss,
)
from echoic.codecs.losses.balancer import GradientBalancer
from echoic.codecs.losses.mel import MelLoss, MelLossConfig
from echoic.codecs.losses.perceptual import PerceptualLoss
from echoic.codecs.losses.spectra import ComplexStftLoss

__all__ = [
    "AdversarialKind",
    "ComplexStftLoss",
    "GradientBalancer",
    "Judgement",
    "MelLoss",
    "MelLossConfig",
    "PerceptualLoss",
    "Reduction",
    "discriminator_loss",
    "feature_matching",
    "generator_loss",
]

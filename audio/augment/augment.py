"""All effects one after the other, seeded per utterance."""

from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.audio.augment.band import Band
from echoic.audio.augment.codec import Codec
from echoic.audio.augment.draw import generator_for
from echoic.audio.augment.level import Clipping, Gain
from echoic.audio.augment.noise import Noise
from echoic.audio.augment.reverb import Reverb
from echoic.audio.augment.speed import Speed


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Which effects, in the order that sound meets them; None switches one off.

    Attributes:
        speed: changes the length, so it is off unless asked for.
        reverb: the room.
        noise: in the room.
        gain: the distance of the knob.
        clipping: the microphone.
        band: the line.
        codec: the transmission.
    """

    speed: Speed | None = None
    reverb: Reverb | None = field(default_factory=Reverb)
    noise: Noise | None = field(default_factory=Noise)
    gain: Gain | None = field(default_factory=Gain)
    clipping: Clipping | None = field(default_factory=Clipping)
    band: Band | None = field(default_factory=Band)
    codec: Codec | None = field(default_factory=Codec)


class Augmented(NamedTuple):
    """Sound after augmentation.

    Attributes:
        wav: (T',) or (C, T') float32 within [-1, 1]; T' = T unless the speed changed.
        speed: factor of the speed: what was said at t seconds is now at t / speed.
    """

    wav: Tensor
    speed: float


class Augment:
    """Applies random effects; the same seed gives the same result in any order and any worker.

    Each effect draws from numbers of its own, so switching one off leaves the others as they are.
    It holds no state and can be shared and pickled.

    Args:
        config: the effects; the default is reverb, noise, gain, clipping, band and codec.
    """

    def __init__(self, config: AugmentConfig | None = None) -> None:
        self.config = config or AugmentConfig()

    def __call__(self, wav: Tensor, sample_rate: int, seed: int | str) -> Augmented:
        """Augments one utterance.

        Args:
            wav: (T,) or (C, T) float32 on the CPU; left as it is.
            sample_rate: in Hz.
            seed: of this utterance in this epoch, for example f"{epoch}:{path}".

        Returns:
            The sound and the factor of its speed.

        Raises:
            ValueError: `wav` is not float32 of one or two dimensions.
        """
        if wav.dim() not in (1, 2) or wav.dtype != torch.float32:
            raise ValueError(
                f"wav is {wav.dtype} of shape {tuple(wav.shape)}; give float32 (T,) or (C, T)"
            )
        if wav.shape[-1] == 0:
            return Augmented(wav, 1.0)
        speed = 1.0
        for name in (f.name for f in fields(self.config)):
            effect = getattr(self.config, name)
            if effect is None:
                continue
            generator = generator_for(seed, name)
            if float(torch.rand((), generator=generator)) >= effect.probability:
                continue
            result = effect(wav, sample_rate, generator)
            wav, speed = result if isinstance(result, tuple) else (result, speed)
        peak = float(wav.abs().max()) if wav.numel() else 0.0
        return Augmented(wav / peak if peak > 1 else wav, speed)

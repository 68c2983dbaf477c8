"""What happens to the sound of training, as a recipe says it."""

from dataclasses import dataclass, fields

from echoic.audio.augment import (
    Augment,
    AugmentConfig,
    Band,
    Clipping,
    Codec,
    Gain,
    Noise,
    Reverb,
    Speed,
)


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of `AugmentConfig`, each off unless it is named.

    Attributes:
        speed: and pitch with it.
        reverb: the room.
        noise: in the room.
        gain: the distance of the knob.
        clipping: the microphone.
        band: the line.
        codec: the transmission.
    """

    speed: Speed | None = None
    reverb: Reverb | None = None
    noise: Noise | None = None
    gain: Gain | None = None
    clipping: Clipping | None = None
    band: Band | None = None
    codec: Codec | None = None

    def augment(self) -> Augment:
        """Return what applies them."""
        return Augment(AugmentConfig(**{f.name: getattr(self, f.name) for f in fields(self)}))

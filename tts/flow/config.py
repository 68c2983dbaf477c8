"""Settings of the flow decoder: what goes in, what comes out, and what sees what."""

from dataclasses import dataclass, field

from echoic.audio.features import MelConfig
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.tokens import FrameFormat


@dataclass(frozen=True, slots=True)
class MelSpace:
    """Mel spectrograms between the flow and the vocoder: logarithms, brought near variance 1.

    Attributes:
        mel: of the spectrograms; logarithms.
        mean: of the logarithms, which is taken away.
        scale: of what is left, by which it is divided.

    Raises:
        ValueError: linear mels, or a scale that is not more than 0.
    """

    mel: MelConfig = field(
        default_factory=lambda: MelConfig(sample_rate=16_000, n_fft=640, hop_length=160)
    )
    mean: float = -6.0
    scale: float = 2.3

    def __post_init__(self) -> None:
        if self.mel.log_floor is None or not self.scale > 0:
            raise ValueError(
                f"log_floor {self.mel.log_floor} and scale {self.scale} of mels: expected more "
                "than 0"
            )

    @property
    def rate(self) -> float:
        """Spectra a second."""
        return self.mel.sample_rate / self.mel.hop_length


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Settings of a `FlowModel`.

    Attributes:
        frames: of the codes.
        mels: what they become; a whole number of spectra for each frame of codes.
        backbone: of Qwen2's shape, as the language models are.
        condition_dim: channels of the codes and of the time at the backbone's entry.
        speaker_dim: numbers of a speaker's vector; 0 for none.
        lookahead: frames of codes beyond its own that a spectrum hears, whatever the chunks.
        look_back: frames of codes before its own chunk that a spectrum sees; None for all of
            them, and then the memory of a stream grows with its length.
        chunks: frames of codes of a chunk; a batch of the training has one of these sizes.
        whole: share of the batches whose utterances are one chunk each.

    Raises:
        ValueError: rates that do not fit each other, or sizes that nothing has.
    """

    frames: FrameFormat
    mels: MelSpace = field(default_factory=MelSpace)
    backbone: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(
            dim=384, ffn_dim=1152, heads=6, kv_heads=6, qkv_bias=True, qk_norm=False
        )
    )
    condition_dim: int = 80
    speaker_dim: int = 0
    lookahead: int = 3
    look_back: int | None = 100
    chunks: tuple[int, ...] = (10, 25, 50)
    whole: float = 0.3

    def __post_init__(self) -> None:
        ratio = self.mels.rate / self.frames.frame_rate
        if ratio < 1 - 1e-6 or abs(ratio - round(ratio)) > 1e-6 * ratio:
            raise ValueError(
                f"{self.mels.rate:g} spectra a second are no multiple of {self.frames.frame_rate:g}"
                " frames of codes: choose another hop_length of the mels"
            )
        if self.condition_dim < 2 or self.condition_dim % 2 or min(self.speaker_dim, 0) < 0:
            raise ValueError(
                f"condition_dim {self.condition_dim}, speaker_dim {self.speaker_dim}: expected an "
                "even number of 2 or more, and 0 or more"
            )
        if self.lookahead < 0 or (self.look_back is not None and self.look_back < 0):
            raise ValueError(
                f"lookahead {self.lookahead}, look_back {self.look_back}: expected 0 or more"
            )
        if not self.chunks or min(self.chunks) < 1 or not 0 <= self.whole <= 1:
            raise ValueError(
                f"chunks {self.chunks}, whole {self.whole}: expected sizes of 1 or more, and a "
                "share from 0 to 1"
            )

    @property
    def ratio(self) -> int:
        """Spectra of a frame of codes."""
        return round(self.mels.rate / self.frames.frame_rate)


@dataclass(frozen=True, slots=True)
class SolverConfig:
    """How the flow is followed.

    Attributes:
        steps: of Euler, 1 to 10 are sensible; each takes a pass through the backbone.
        guidance: how much farther than what the codes say, away from what none say; 0 for not,
            which halves the work. With fewer than five steps it goes too far: the first ones,
            whose velocity without codes points at no speech in particular, are too long.
        seed: of the noise that all begins with.

    Raises:
        ValueError: no steps, or guidance below 0.
    """

    steps: int = 5
    guidance: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.guidance < 0:
            raise ValueError(
                f"steps {self.steps}, guidance {self.guidance}: expected 1 or more, 0 or more"
            )

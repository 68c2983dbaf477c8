"""An encoder that learns to hear as a Whisper does, before it has learned to write.

A few hours of labelled speech say little about sounds; and until CTC has found where the labels
are, they say nothing. The states of a trained encoder say something about each frame, and need no
labels (Chang et al. 2021, "DistilHuBERT", arXiv 2110.01900).
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel

_TEACHER_HOP = 320  # samples, 20 ms
# Of the silence that the teacher hears behind each utterance, one frame in so many is computed.
_STRIDE = 64


@dataclass(frozen=True, slots=True)
class Imitation:
    """Whom the encoder imitates, and for how long.

    Attributes:
        steps: in which the weight falls to 0.
        weight: of the first step, beside the other losses.
        teacher: a Whisper: name in the box, Hugging Face id or folder.
        cache: keep its states (46 MB an hour with tiny): for sound that is not changed, which comes
            again in every pass.
    """

    steps: int
    weight: float = 1.0
    teacher: str = "tiny.en"
    cache: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.weight > 0:
            raise ValueError(
                f"an imitation of {self.steps} steps and weight {self.weight}: expected 1 or more, "
                "and more than 0"
            )

    def at(self, step: int) -> float:
        """Return the weight at a step, from 0."""
        return self.weight * max(0.0, 1.0 - step / self.steps)


class Imitator(nn.Module):
    """How far an encoder's frames are from a teacher's, by way of a projection that learns, too.

    The teacher is no part of the module: checkpoints do not hold it.

    Args:
        teacher: ready for inference.
        dim: width of the encoder's frames.
        frontend: tells where these lie.
        cache: see `Imitation`.

    Raises:
        ValueError: frames of another sample rate than the teacher's, or of no whole number of its.
    """

    def __init__(
        self, teacher: WhisperModel, dim: int, frontend: FrontendConfig, *, cache: bool = False
    ) -> None:
        super().__init__()
        hop = frontend.hop_length * frontend.lfr_n
        if frontend.sample_rate != SAMPLE_RATE or hop % _TEACHER_HOP:
            raise ValueError(
                f"stacked frames of {hop} samples at {frontend.sample_rate} Hz cannot be compared "
                f"with a Whisper's: expected a multiple of {_TEACHER_HOP} at {SAMPLE_RATE}"
            )
        self._teacher = [teacher]
        self._known: dict[bytes, Tensor] | None = {} if cache else None
        self.ratio = hop // _TEACHER_HOP
        self.projection = nn.Linear(dim, teacher.config.d_model)

    @torch.no_grad()
    def targets(self, wav: Tensor, samples: Tensor, frames: int) -> Tensor:
        """Return the teacher's states at the places of stacked frames.

        Args:
            wav: (B, n) at 16 kHz.
            samples: (B,) of them that count.
            frames: T.

        Returns:
            (B, T, C) float32, each frame with mean 0 and deviation 1, or 0 behind the sound.
        """
        found = wav.new_zeros(len(wav), frames, self.projection.out_features)
        for row, (sound, count) in enumerate(zip(wav, samples.tolist(), strict=True)):
            states = self._states(sound[:count])[:frames]
            found[row, : len(states)] = states
        return found

    def _states(self, wav: Tensor) -> Tensor:
        """Return the states (T, C) of samples (n,), of as many frames as these and some more."""
        if self._known is None:
            return self._heard(wav)
        key = hashlib.blake2b(wav.cpu().numpy().tobytes(), digest_size=16).digest()
        if key not in self._known:
            self._known[key] = self._heard(wav).half()
        return self._known[key].float()

    def _heard(self, wav: Tensor) -> Tensor:
        states = self._teacher[0].encode([wav], stride=_STRIDE).states.float()
        states = states[:, : -(-len(wav) // _TEACHER_HOP) + self.ratio]
        # A stacked frame is centred where the first of the teacher's that it replaces is.
        padded = functional.pad(states.transpose(1, 2), (self.ratio // 2, 0))
        pooled = functional.avg_pool1d(padded, self.ratio)[0].T
        return functional.layer_norm(pooled, pooled.shape[1:])

    def forward(self, hidden: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Return the mean square error of frames (B, T, D), of which lengths (B,) count."""
        error = (self.projection(hidden).float() - targets).square().mean(2)
        mask = length_mask(lengths, hidden.shape[1])
        return (error * mask).sum() / mask.sum().clamp(min=1)

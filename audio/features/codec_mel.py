"""Mel spectrograms of neural codecs and vocoders; differentiable."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from echoic.audio.features.framing import FrameFeatures
from echoic.audio.features.mel import MelScale, apply_filters, mel_filter_bank
from echoic.audio.features.stft import (
    Padding,
    analysis_framing,
    padded_hann,
    power_spectrum,
    spectrum,
)


@dataclass(frozen=True, slots=True)
class MelConfig:
    """Settings of `Mel`; the defaults are HiFi-GAN's at 24 kHz.

    Attributes:
        sample_rate: Hz.
        n_fft: samples in a transform.
        hop_length: samples between two frames.
        win_length: samples in the window; `n_fft` when None.
        num_mels: bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; half the sample rate when None.
        power: 1 for magnitudes, 2 for powers.
        epsilon: added to the power under the root of a magnitude.
        log_floor: mels are raised to this before the natural logarithm; None leaves them linear.
        padding: see `Stft`.
        scale: mel scale.
        area_normalized: Slaney's filters of equal area; else triangles of height 1.
    """

    sample_rate: int = 24_000
    n_fft: int = 1024
    hop_length: int = 256
    win_length: int | None = None
    num_mels: int = 80
    fmin: float = 0.0
    fmax: float | None = None
    power: int = 1
    epsilon: float = 1e-9
    log_floor: float | None = 1e-5
    padding: Padding = "same"
    scale: MelScale = "slaney"
    area_normalized: bool = True

    def __post_init__(self) -> None:
        if self.power not in (1, 2):
            raise ValueError(f"power is {self.power}, expected 1 (magnitude) or 2 (power)")
        if self.log_floor is not None and self.log_floor <= 0.0:
            raise ValueError(
                f"log_floor is {self.log_floor}, expected more than 0, or None for linear mels"
            )

    @classmethod
    def hificodec(cls, sample_rate: int = 24_000) -> Self:
        """Return the main loss of HiFi-Codec, HiFi-GAN's mel: 24 kHz hop 240, 16 kHz hop 200.

        Raises:
            ValueError: for a sample rate it was not published for.
        """
        sizes = {24_000: (240, 1024), 16_000: (200, 800)}
        if sample_rate not in sizes:
            raise ValueError(
                f"sample_rate is {sample_rate}, expected 16000 or 24000 for HiFi-Codec"
            )
        hop, win = sizes[sample_rate]
        return cls(sample_rate=sample_rate, hop_length=hop, win_length=win)

    @classmethod
    def vocos(cls) -> Self:
        """Return the mel of Vocos and Language-Codec's loss: 24 kHz, 100 HTK bands, centred."""
        return cls(
            num_mels=100,
            epsilon=0.0,
            log_floor=1e-7,
            padding="center",
            scale="htk",
            area_normalized=False,
        )

    @classmethod
    def distilcodec(cls) -> Self:
        """Return the input of DistilCodec: 24 kHz, 128 Slaney bands, n // 256 frames."""
        return cls(num_mels=128, epsilon=1e-6)


class Mel(FrameFeatures):
    """Mel spectra (B, T, num_mels) of waveforms (B, n) at the config's sample rate.

    Args:
        config: settings.

    Raises:
        ValueError: for sizes or frequencies that do not fit each other.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelConfig) -> None:
        window = padded_hann(config.n_fft, config.win_length)
        super().__init__(analysis_framing(window, config.hop_length, config.padding))
        self.config = config
        filters = mel_filter_bank(
            config.sample_rate,
            config.n_fft,
            config.num_mels,
            fmin=config.fmin,
            fmax=config.fmax,
            scale=config.scale,
            area_normalized=config.area_normalized,
        )
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def features(self, frames: Tensor) -> Tensor:
        """Turn frames (B, T, n_fft) into mel spectra (B, T, num_mels)."""
        mel = apply_filters(self._amplitude(frames * self.window), self.filters)
        if self.config.log_floor is None:
            return mel
        return mel.clamp(min=self.config.log_floor).log()

    def _amplitude(self, frames: Tensor) -> Tensor:
        if self.config.power == 2:
            return power_spectrum(frames)
        if self.config.epsilon == 0.0:
            return spectrum(frames).abs()  # the root of 0 has no gradient; the complex abs has
        return torch.sqrt(power_spectrum(frames) + self.config.epsilon)

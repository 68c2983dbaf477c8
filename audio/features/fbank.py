"""Kaldi's log filter banks with the low frame rate and normalisation of FunASR's Paraformer."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from echoic.audio.features.framing import FrameFeatures, Framing, FramingState, check_batch
from echoic.audio.features.mel import apply_filters
from echoic.audio.features.stft import power_spectrum

Window = Literal["hamming", "povey", "hann"]


@dataclass(frozen=True, slots=True)
class FbankConfig:
    """Settings of `Fbank`; the defaults are Paraformer's, with dither off.

    Attributes:
        sample_rate: Hz.
        num_mels: bands.
        frame_length: samples in a frame.
        hop_length: samples between two frames.
        window: symmetric "hamming", "povey" (Hann to the power 0.85) or "hann".
        preemphasis: part of the previous sample that is taken off each, inside a frame.
        remove_dc: take the mean off each frame first.
        scale: factor on samples in [-1, 1]: 2^15 as Kaldi reads 16-bit files.
        dither: standard deviation of noise on the scaled samples; FunASR's default is 1.0, which
            makes features differ from run to run. Dithered features cannot be streamed.
        snip_edges: only frames that lie inside; else n / hop frames, rounded, the edges mirrored.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; half the sample rate when None.
    """

    sample_rate: int = 16_000
    num_mels: int = 80
    frame_length: int = 400
    hop_length: int = 160
    window: Window = "hamming"
    preemphasis: float = 0.97
    remove_dc: bool = True
    scale: float = 32768.0
    dither: float = 0.0
    snip_edges: bool = True
    fmin: float = 20.0
    fmax: float | None = None

    def __post_init__(self) -> None:
        if self.window not in ("hamming", "povey", "hann"):
            raise ValueError(f'window is {self.window!r}, expected "hamming", "povey" or "hann"')
        if not 0.0 <= self.preemphasis <= 1.0:
            raise ValueError(f"preemphasis is {self.preemphasis}, expected 0 to 1: 0.97 is usual")
        if self.dither < 0.0:
            raise ValueError(f"dither is {self.dither}, expected 0 (off) or more: 1.0 is FunASR's")

    @property
    def n_fft(self) -> int:
        """Size of the transform: the frame length rounded up to a power of two."""
        return 1 << (self.frame_length - 1).bit_length()


class Fbank(FrameFeatures):
    """Log filter banks (B, T, num_mels) of waveforms (B, n) in [-1, 1], with Kaldi's semantics.

    T = 1 + (n - frame_length) // hop_length, and no frame for shorter signals. (FunASR cuts the
    frame length instead, so 100 to 399 samples give one frame of another kind there.)

    Args:
        config: settings.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: FbankConfig | None = None) -> None:
        config = config or FbankConfig()
        super().__init__(_framing(config))
        self.config = config
        self.register_buffer("window", _window(config), persistent=False)
        self.register_buffer("filters", kaldi_filter_bank(config), persistent=False)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Turn whole signals into features; `generator` makes the dither reproducible."""
        check_batch(x, self.framing)
        frames = self.framing.frames(x)
        if self.config.dither > 0.0:
            noise = torch.randn(frames.shape, generator=generator).to(frames)
            frames = frames + noise * (self.config.dither / self.config.scale)
        return self.features(frames)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> FramingState:
        """Return the state before the first sample.

        Raises:
            ValueError: when dither is on, which would make the result depend on the chunks.
        """
        if self.config.dither > 0.0:
            raise ValueError(
                f"dither is {self.config.dither}, expected 0 for a stream: set FbankConfig.dither"
            )
        return super().initial_state(batch_size, device=device, dtype=dtype)

    def features(self, frames: Tensor) -> Tensor:
        """Turn frames (B, T, frame_length) into log energies (B, T, num_mels)."""
        frames = frames.float() * self.config.scale
        if self.config.remove_dc:
            frames = frames - frames.mean(-1, keepdim=True)
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = torch.sub(frames, previous, alpha=self.config.preemphasis) * self.window
        energies = apply_filters(power_spectrum(frames, self.config.n_fft), self.filters)
        return energies.clamp(min=torch.finfo(torch.float32).eps).log()


def _framing(config: FbankConfig) -> Framing:
    length, hop = config.frame_length, config.hop_length
    if config.snip_edges:
        return Framing(length, hop)
    left = length // 2 - hop // 2
    return Framing(length, hop, left, length - hop // 2 - left, "symmetric")


def _window(config: FbankConfig) -> Tensor:
    if config.window == "hamming":
        return torch.hamming_window(config.frame_length, periodic=False)
    hann = torch.hann_window(config.frame_length, periodic=False)
    return hann.pow(0.85) if config.window == "povey" else hann


def kaldi_filter_bank(config: FbankConfig) -> Tensor:
    """Build Kaldi's filters: triangles over the mel axis itself, nothing at half the sample rate.

    Returns:
        (n_fft // 2 + 1, num_mels) float32.

    Raises:
        ValueError: when the frequencies are not 0 <= fmin < fmax <= sample_rate / 2.
    """
    nyquist = config.sample_rate / 2
    fmax = nyquist if config.fmax is None else config.fmax
    if not 0 <= config.fmin < fmax <= nyquist:
        raise ValueError(
            f"the mel bands run from {config.fmin} Hz to {fmax} Hz, expected 0 <= fmin < fmax <= "
            f"{nyquist}: lower fmax or raise the sample rate ({config.sample_rate} Hz)"
        )
    low, high = (1127.0 * math.log1p(hz / 700.0) for hz in (config.fmin, fmax))
    step = (high - low) / (config.num_mels + 1)
    centres = low + step * torch.arange(1, config.num_mels + 1, dtype=torch.float64)
    # Not linspace: once transformers has loaded a model, that ignores torch.device("meta").
    hz = torch.arange(config.n_fft // 2 + 1, dtype=torch.float64) * (2 * nyquist / config.n_fft)
    mels = 1127.0 * torch.log1p(hz / 700.0)
    filters = (1.0 - (mels[:, None] - centres).abs() / step).clamp(min=0.0)
    filters[-1] = 0.0
    return filters.float()

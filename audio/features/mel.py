"""Mel filter banks, as librosa, torchaudio and OpenAI's Whisper build them.

Ours because librosa imports numba and torchaudio is optional: either is too slow or too large to
be needed for the start of a transcription.
"""

import math
from typing import Literal

import torch
from torch import Tensor

MelScale = Literal["slaney", "htk"]

# Slaney's Auditory Toolbox (1998): linear below 1 kHz, 27 steps per factor of 6.4 above.
_HZ_PER_MEL = 200.0 / 3.0
_LINEAR_TOP_HZ = 1000.0
_LINEAR_TOP_MEL = _LINEAR_TOP_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def hz_to_mel(hz: Tensor, scale: MelScale = "slaney") -> Tensor:
    """Convert frequencies in Hz to mels."""
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    above = _LINEAR_TOP_MEL + torch.log(hz.clamp(min=1e-9) / _LINEAR_TOP_HZ) / _LOG_STEP
    return torch.where(hz < _LINEAR_TOP_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: Tensor, scale: MelScale = "slaney") -> Tensor:
    """Convert mels to frequencies in Hz."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _LINEAR_TOP_HZ * torch.exp(_LOG_STEP * (mel - _LINEAR_TOP_MEL))
    return torch.where(mel < _LINEAR_TOP_MEL, mel * _HZ_PER_MEL, above)


def apply_filters(spectra: Tensor, filters: Tensor) -> Tensor:
    """Return spectra (..., bins) times filters (bins, bands), in full precision also in autocast.

    Eight bits of mantissa (bfloat16) would leave the log of a band wrong in its second decimal.
    """
    with torch.autocast(spectra.device.type, enabled=False):
        return spectra @ filters.to(spectra.dtype)


def mel_filter_bank(
    sample_rate: int,
    n_fft: int,
    num_mels: int,
    *,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: MelScale = "slaney",
    area_normalized: bool = True,
) -> Tensor:
    """Build triangular filters that turn a spectrum into mel bands.

    Args:
        sample_rate: Hz.
        n_fft: size of the Fourier transform.
        num_mels: number of bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; half the sample rate when None.
        scale: "slaney" (librosa, Whisper) or "htk" (torchaudio).
        area_normalized: give every filter the same area, as Slaney does.

    Returns:
        (n_fft // 2 + 1, num_mels) float32, computed in double precision.

    Raises:
        ValueError: when the frequencies are not 0 <= fmin < fmax <= sample_rate / 2, or there is
            no band.
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    if not 0 <= fmin < fmax <= sample_rate / 2:
        raise ValueError(
            f"the mel bands run from {fmin} Hz to {fmax} Hz, expected 0 <= fmin < fmax <= "
            f"{sample_rate / 2}: lower fmax or raise the sample rate ({sample_rate} Hz)"
        )
    if num_mels < 1:
        raise ValueError(f"num_mels is {num_mels}, expected at least 1: Whisper has 80 or 128")
    # On the CPU also where a model is being built on the meta device: two of these are read.
    edges = torch.tensor([fmin, fmax], dtype=torch.float64, device="cpu")
    low, high = hz_to_mel(edges, scale).tolist()
    corners = mel_to_hz(torch.linspace(low, high, num_mels + 2, dtype=torch.float64), scale)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    if area_normalized:
        filters = filters * (2.0 / (corners[2:] - corners[:-2]))
    return filters.float()

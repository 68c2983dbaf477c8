"""Filtering by one Fourier transform, at lengths where that is quick."""

from collections.abc import Callable

import torch
from torch import Tensor

_MANTISSAS = (8, 9, 10, 12, 15, 16)


def fast_length(least: int) -> int:
    """Return a length of at least `least` with no prime factor above 5."""
    power = max(0, (max(1, least) - 1).bit_length() - 4)
    return next(m << power for m in _MANTISSAS if m << power >= least)


def convolve(wav: Tensor, response: Tensor) -> Tensor:
    """Filter by an impulse response; the tail after the signal's end is cut.

    Args:
        wav: (..., T).
        response: (N,), its first sample at delay 0.

    Returns:
        (..., T).
    """
    length = wav.shape[-1]
    size = fast_length(length + response.shape[-1] - 1)
    spectrum = torch.fft.rfft(wav, size) * torch.fft.rfft(response, size)
    return torch.fft.irfft(spectrum, size)[..., :length]


def shape_spectrum(
    wav: Tensor, sample_rate: int, gain: Callable[[Tensor], Tensor], *, padding: int = 0
) -> Tensor:
    """Weight each frequency, without a shift in time.

    Args:
        wav: (..., T).
        sample_rate: in Hz.
        gain: from frequencies in Hz, (F,), to factors, (F,).
        padding: samples of silence that keep the end from ringing into the start.

    Returns:
        (..., T).
    """
    length = wav.shape[-1]
    size = fast_length(length + padding)
    frequencies = torch.fft.rfftfreq(size, 1 / sample_rate, device=wav.device)
    spectrum = torch.fft.rfft(wav, size) * gain(frequencies)
    return torch.fft.irfft(spectrum, size)[..., :length]

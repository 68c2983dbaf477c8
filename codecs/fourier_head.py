"""Spectra drawn by a network: the head of codecs and vocoders that end in an inverse transform."""

import math

import torch
from torch import Tensor, nn


class FourierHead(nn.Module):
    """Spectra (B, F, bins) from frames (B, F, C): a magnitude and a phase for each bin.

    Siuzdak 2023 (Vocos, arXiv:2306.00814), section 3.3: a phase is any number, since only its
    cosine and sine count.

    Args:
        width: C.
        n_fft: samples of a spectrum.
        largest: magnitude at which bins are clipped.
    """

    def __init__(self, width: int, n_fft: int, largest: float = 100.0) -> None:
        super().__init__()
        self.out = nn.Linear(width, n_fft + 2)
        # Clipped before the exponential, whose overflow has no gradient.
        self.largest_log = math.log(largest)

    def forward(self, x: Tensor) -> Tensor:
        """Return complex spectra; float32 whatever the autocast, as the transform needs."""
        log_magnitude, phase = self.out(x).float().chunk(2, dim=-1)
        magnitude = log_magnitude.clamp(max=self.largest_log).exp()
        return torch.complex(magnitude * phase.cos(), magnitude * phase.sin())

"""How far a reconstruction is from its original, as signals."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from echoic.codecs.losses.mel import MelLoss

_FLOOR = 1e-5
_STFT_WINDOWS = (2048, 512)

#: Fewest samples that all distances are defined for: half of the longest window mirrors.
SHORTEST = 2048


def si_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB, (B,), without means.

    Le Roux et al. 2019, "SDR - half-baked or well done?", equation 3. Codecs that draw phases anew
    score low however good they sound.

    Args:
        reference: (B, T) originals.
        estimate: (B, T) reconstructions.

    Returns:
        (B,) float64; NaN where the original is silent.
    """
    reference = reference.double() - reference.double().mean(1, keepdim=True)
    estimate = estimate.double() - estimate.double().mean(1, keepdim=True)
    energy = reference.square().sum(1, keepdim=True)
    target = (estimate * reference).sum(1, keepdim=True) / energy * reference
    noise = (estimate - target).square().sum(1)
    return 10 * torch.log10(target.square().sum(1) / noise)


def mel_distance(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the L1 distance of log10 mel magnitudes, summed over seven windows of 32 to 2048.

    The mel loss of the Descript Audio Codec (Kumar et al. 2023, section 3.4): 5 to 320 bands.

    Args:
        reference: (B, T) originals, T >= `SHORTEST`.
        estimate: (B, T) reconstructions.
        sample_rate: Hz.
    """
    return float(MelLoss(sample_rate)(estimate, reference)) / math.log(10.0)


def stft_distance(reference: Tensor, estimate: Tensor) -> float:
    """Return the L1 distance of spectra: of magnitudes, and of log10 powers, of two windows.

    As in the evaluation of the Descript Audio Codec: windows of 2048 and 512 samples at a quarter
    of their length, magnitudes of at least 1e-5.

    Args:
        reference: (B, T) originals, T >= `SHORTEST`.
        estimate: (B, T) reconstructions.
    """
    total = 0.0
    for size in _STFT_WINDOWS:
        x, y = _magnitudes(reference, size), _magnitudes(estimate, size)
        total += float(F.l1_loss(y, x))
        total += float(F.l1_loss(_log_power(y), _log_power(x)))
    return total


def _magnitudes(wav: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size, device=wav.device)
    return torch.stft(wav.float(), size, size // 4, window=window, return_complex=True).abs()


def _log_power(magnitude: Tensor) -> Tensor:
    return 2 * magnitude.clamp(min=_FLOOR).log10()

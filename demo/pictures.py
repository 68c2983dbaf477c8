"""Pictures of sound as small numbers, which the browser draws in its own colours."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from echoic.audio.features import mel_filter_bank
from echoic.demo.fields import written

_BANDS = 80
_HOP_SECONDS = 0.01
_MAX_COLUMNS = 1200
_RANGE_DB = 80.0


class Picture(NamedTuple):
    """Numbers in rows, the first at the top.

    Attributes:
        values: (rows, columns) of 8 or 16 bits without sign.
        size: values go from 0 to below that.
    """

    values: np.ndarray[Any, Any]
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it: values of 16 bits little-endian, in base64."""
        rows, columns = self.values.shape
        data = written(self.values.astype("<u2").tobytes())
        return {"rows": rows, "columns": columns, "size": self.size, "data": data}


def mel_pictures(wav: Tensor, decoded: Tensor, sample_rate: int) -> tuple[Picture, Picture]:
    """Return the spectrograms of a recording and of its reconstruction, on one scale.

    The scale ends at the recording's loudest, and begins 80 dB below.

    Args:
        wav: (T,) float.
        decoded: (T,) float.
        sample_rate: Hz.
    """
    power = _mel_power(torch.stack([wav, decoded]), sample_rate)
    top = power[0].max().clamp(min=1e-10)
    decibels = 10 * torch.log10((power / top).clamp(min=1e-12))
    shares = (1 + decibels / _RANGE_DB).clamp(0, 1)
    values = (shares * 255).round().to(torch.uint8).flip(1).numpy()  # low bands at the bottom
    return Picture(values[0], 256), Picture(values[1], 256)


def codes_picture(codes: Tensor, codebook_size: int) -> Picture:
    """Return codes (Q, F), the first book at the top."""
    return Picture(codes.cpu().numpy(), codebook_size)


def _mel_power(wav: Tensor, sample_rate: int) -> Tensor:
    """Return (B, bands, columns) of signals (B, T)."""
    size = 1 << (sample_rate // 40 - 1).bit_length()  # the power of two next above 25 ms
    hop = max(round(_HOP_SECONDS * sample_rate), wav.shape[1] // _MAX_COLUMNS)
    window = torch.hann_window(size)
    spectrum = torch.stft(
        wav.float(), size, hop, window=window, pad_mode="constant", return_complex=True
    )
    bank = mel_filter_bank(sample_rate, size, _BANDS)
    return torch.einsum("bft,fm->bmt", spectrum.abs().square(), bank)

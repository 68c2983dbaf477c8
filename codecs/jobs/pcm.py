"""Samples of 16 bits as a stream: WAV from its first byte on, or without a header."""

import struct
import warnings
from typing import BinaryIO

import torch

from echoic.audio.errors import AudioWarning

_UNKNOWN = 2**32 - 1
_BITS = 16
# Bytes of a WAV header before its samples, less the 8 that its size does not count.
_AROUND = 36


class PcmStream:
    """Writes blocks as they come, and lets them go at once.

    Args:
        file: where to; it need not seek.
        sample_rate: in Hz.
        channels: how many.
        wav: begin with a WAV header.
        num_frames: samples of a channel to come; None where that is not sure, which the header
            tells as other programs do, by the largest size there is.
    """

    def __init__(
        self,
        file: BinaryIO,
        sample_rate: int,
        channels: int,
        *,
        wav: bool,
        num_frames: int | None = None,
    ) -> None:
        self._file = file
        self._beyond = 0
        if wav:
            file.write(_wav_header(sample_rate, channels, num_frames))
            file.flush()

    def write(self, wav: torch.Tensor) -> None:
        """Take the next (C, T) float32; what lies beyond [-1, 1] is clipped."""
        full = 2.0 ** (_BITS - 1)
        self._beyond += int((wav.abs() > 1).sum())
        steps = (wav.detach().cpu().double() * full).round().clamp(-full, full - 1)
        self._file.write(steps.T.contiguous().numpy().astype("<i2").tobytes())
        self._file.flush()

    def close(self, name: str) -> None:
        """Warn where samples of the output of that name were clipped."""
        if self._beyond:
            text = f"{name}: clipped {self._beyond} samples beyond [-1, 1]"
            warnings.warn(AudioWarning(f"{text}; --subtype FLOAT keeps them"), stacklevel=2)


def _wav_header(sample_rate: int, channels: int, num_frames: int | None) -> bytes:
    width = channels * _BITS // 8
    size = _UNKNOWN if num_frames is None else num_frames * width
    if size + _AROUND > _UNKNOWN:
        size, whole = _UNKNOWN, _UNKNOWN
    else:
        whole = size + _AROUND
    form = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * width, width, _BITS)
    return (
        struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
        + struct.pack("<4sI", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", size)
    )

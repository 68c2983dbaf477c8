"""Samples without a header, as `arecord -t raw`, `sox -t raw` and `ffmpeg -f s16le` write them."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import torch

from echoic.audio.errors import AudioWarning
from echoic.audio.io import Audio
from echoic.audio.reader import decode, no_samples, stream_blocks
from echoic.audio.source import Source, open_raw

# subtype -> numpy's type, value of silence, full scale
_SUBTYPES = {
    "PCM_16": ("<i2", 0.0, 2.0**15),
    "PCM_32": ("<i4", 0.0, 2.0**31),
    "PCM_U8": ("u1", 128.0, 2.0**7),
    "FLOAT": ("<f4", 0.0, 1.0),
}


class RawReader:
    """Reads little-endian, interleaved samples from front to back.

    Attributes:
        sample_rate: in Hz, as told.
        channels: as told.
    """

    def __init__(self, source: Source, sample_rate: int, channels: int, subtype: str) -> None:
        if subtype not in _SUBTYPES:
            raise ValueError(f"subtype is {subtype!r}; choose one of {', '.join(_SUBTYPES)}")
        if sample_rate <= 0 or channels <= 0:
            raise ValueError(f"rate {sample_rate} Hz and {channels} channels must be above 0")
        self.sample_rate, self.channels = sample_rate, channels
        self._kind, self._silence, self._scale = _SUBTYPES[subtype]
        self._width = np.dtype(self._kind).itemsize * channels
        self._exit = ExitStack()
        self._raw, self.name = self._exit.enter_context(open_raw(source))

    def read(self, frames: int) -> np.ndarray:
        """The next (n, channels) float32 frames; n < `frames` only at the end."""
        data = bytearray()
        while len(data) < frames * self._width:
            piece = self._raw.read(frames * self._width - len(data))
            if not piece:
                break
            data += piece
        whole, rest = divmod(len(data), self._width)
        if rest:
            text = f"{self.name}: ends inside a frame; its last {rest} bytes are left out"
            warnings.warn(text, AudioWarning, stacklevel=4)
        values = np.frombuffer(data, self._kind, whole * self.channels).astype(np.float32)
        scaled = (values - np.float32(self._silence)) / np.float32(self._scale)
        return scaled.reshape(whole, self.channels)

    def __enter__(self) -> "RawReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


def load_raw(source: Source, sample_rate: int, channels: int = 1, subtype: str = "PCM_16") -> Audio:
    """Reads headerless samples into memory.

    Args:
        source: path, bytes, binary file object, or "-" for standard input.
        sample_rate: of the samples, in Hz.
        channels: how many are interleaved.
        subtype: PCM_16, PCM_32, PCM_U8 or FLOAT, little-endian.

    Returns:
        The sound, (C, T) float32.

    Raises:
        AudioDecodeError: if there is no sample, or a float one is NaN or infinite.
        ValueError: if the description of the samples is out of range.
    """
    with RawReader(source, sample_rate, channels, subtype) as reader:
        parts = list(decode(reader))
        if not parts:
            raise no_samples(reader.name)
        return Audio(torch.cat(parts, dim=1), sample_rate)


def raw_blocks(
    source: Source,
    *,
    seconds: float,
    raw_rate: int,
    channels: int = 1,
    subtype: str = "PCM_16",
    sample_rate: int | None = None,
    mono: bool = False,
) -> Iterator[torch.Tensor]:
    """Reads headerless samples block by block, as they arrive.

    Args:
        source: as for `load_raw`.
        seconds: length of a block.
        raw_rate: rate of the samples, in Hz.
        channels: how many are interleaved.
        subtype: PCM_16, PCM_32, PCM_U8 or FLOAT, little-endian.
        sample_rate: resample to this rate in Hz; None keeps `raw_rate`.
        mono: mix the channels to one by their mean.

    Yields:
        (C, T) float32 with T = round(seconds * rate); the last may be shorter.

    Raises:
        AudioDecodeError: if there is no sample, or a float one is NaN or infinite.
    """
    with RawReader(source, raw_rate, channels, subtype) as reader:
        yield from stream_blocks(reader, seconds, sample_rate, mono)

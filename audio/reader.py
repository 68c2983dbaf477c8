"""From an open source to a stream of float32 blocks: choice of decoder, checks, mixing, rates."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from echoic.audio.errors import AudioDecodeError, AudioWarning
from echoic.audio.ffmpeg import FfmpegReader, find_ffmpeg
from echoic.audio.resample import Resampler
from echoic.audio.sndfile import SndfileReader
from echoic.audio.source import OpenSource, Source, is_ffmpeg_only, is_known, open_source

# Values decoded at once, over all channels: 1 MB.
_BLOCK_VALUES = 2**18
# Sound that peaks here is not overshoot: it was written without scaling to [-1, 1].
_UNSCALED_PEAK = 16.0
# Rates in Hz that a header may claim; beyond them it is damaged.
_MIN_RATE, _MAX_RATE = 100, 10_000_000


class Reader(Protocol):
    """A decoder that goes through a source once, from front to back."""

    name: str
    sample_rate: int
    channels: int

    def read(self, frames: int) -> np.ndarray:
        """The next (n, channels) float32 frames; n < `frames` only at the end."""
        ...


@contextmanager
def open_reader(source: Source) -> Iterator[SndfileReader | FfmpegReader]:
    """Opens a source with the decoder that its content asks for.

    Raises:
        AudioDecodeError: if no decoder understands it.
        OSError: if the path cannot be read (see `open_source`).
    """
    with open_source(source) as opened, _choose(opened) as reader:
        if not _MIN_RATE <= reader.sample_rate <= _MAX_RATE:
            problem = f"claims a sample rate of {reader.sample_rate} Hz"
            raise AudioDecodeError(reader.name, problem, "its header is damaged; write it anew")
        yield reader


def _choose(opened: OpenSource) -> SndfileReader | FfmpegReader:
    """Takes libsndfile where it can, ffmpeg for other containers and odd codecs in known ones."""
    if is_ffmpeg_only(opened.head):
        return FfmpegReader(opened)
    try:
        return SndfileReader(opened)
    except AudioDecodeError as error:
        if not is_known(opened.head) or find_ffmpeg() is None:
            raise
        try:
            return FfmpegReader(opened)
        except AudioDecodeError:
            raise error from None


def decode(reader: Reader, frames: int | None = None, block: int = 2**20) -> Iterator[torch.Tensor]:
    """Decodes and checks.

    Args:
        reader: where to read on.
        frames: how many in all; None for all there are.
        block: frames at once, bounded further to 1 MB of samples.

    Yields:
        (C, n) float32 with n > 0.

    Raises:
        AudioDecodeError: if a sample is NaN or infinite.
    """
    block = max(1, min(block, _BLOCK_VALUES // reader.channels))
    position, warned = 0, False
    while frames is None or position < frames:
        asked = block if frames is None else min(block, frames - position)
        data = reader.read(asked)
        peak = float(np.abs(data).max(initial=0.0))
        if not np.isfinite(peak):
            raise _not_finite(reader, data, position)
        if peak > _UNSCALED_PEAK and not warned:
            warned = True
            text = f"{reader.name}: peaks at {peak:g} instead of 1; divide by the scale it was made"
            warnings.warn(f"{text} with (32768 for 16 bits)", AudioWarning, stacklevel=4)
        position += len(data)
        if len(data):
            yield torch.from_numpy(np.ascontiguousarray(data.T))
        if len(data) < asked:
            return


def _not_finite(reader: Reader, data: np.ndarray, position: int) -> AudioDecodeError:
    """The error for a sample that is no number, with its time."""
    first = int(np.flatnonzero(~np.isfinite(data).all(axis=1))[0])
    channel = int(np.flatnonzero(~np.isfinite(data[first]))[0])
    seconds = (position + first) / reader.sample_rate
    problem = f"holds {data[first, channel]} at {seconds:.4f} s (channel {channel})"
    return AudioDecodeError(reader.name, problem, "write it again with finite samples")


def go_to(
    reader: SndfileReader | FfmpegReader, offset: float, duration: float | None
) -> int | None:
    """Skip to an offset in seconds; return how many frames last `duration`, None for all."""
    reader.skip(round(offset * reader.sample_rate))
    return None if duration is None else max(1, round(duration * reader.sample_rate))


def no_samples(name: str, offset: float = 0.0) -> AudioDecodeError:
    """The error for a source without a single sample, at all or after an offset in seconds."""
    if offset:
        problem = f"has no sound after the offset of {offset} s"
        return AudioDecodeError(name, problem, "choose an offset inside the recording")
    return AudioDecodeError(name, "holds no samples", "record or encode it again")


def stream_blocks(
    reader: Reader,
    seconds: float,
    sample_rate: int | None,
    mono: bool,
    *,
    frames: int | None = None,
    offset: float = 0.0,
) -> Iterator[torch.Tensor]:
    """Decodes on in blocks of equal length, resampled and mixed on the way.

    Args:
        reader: where to read on.
        seconds: length of a block.
        sample_rate: resample to this rate in Hz; None keeps the reader's.
        mono: mix the channels to one by their mean.
        frames: how many to read in all; None for all there are.
        offset: seconds that were left out before, for the error where nothing follows.

    Yields:
        (C, T) float32 with T = round(seconds * rate); the last may be shorter.

    Raises:
        AudioDecodeError: if there is no sample or a bad one.
    """
    rate = sample_rate or reader.sample_rate
    size = max(1, round(seconds * rate))
    chunks = decode(reader, frames, block=max(1, round(seconds * reader.sample_rate)))
    if mono:
        chunks = (chunk.mean(dim=0, keepdim=True) for chunk in chunks)
    if rate != reader.sample_rate:
        channels = 1 if mono else reader.channels
        chunks = _resampled(chunks, Resampler(reader.sample_rate, rate), channels)
    empty = True
    for block in _regrouped(chunks, size):
        empty = False
        yield block
    if empty:
        raise no_samples(reader.name, offset)


def _resampled(
    chunks: Iterator[torch.Tensor], resampler: Resampler, channels: int
) -> Iterator[torch.Tensor]:
    state = resampler.initial_state(channels)
    for chunk in chunks:
        state, out = resampler.step(state, chunk)
        yield out
    yield resampler.finish(state)[1]


def _regrouped(chunks: Iterator[torch.Tensor], size: int) -> Iterator[torch.Tensor]:
    """The same samples in blocks of `size`, each with memory of its own."""
    waiting: list[torch.Tensor] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += chunk.shape[1]
        if length < size:
            continue
        joined = torch.cat(waiting, dim=1)
        whole = length // size * size
        yield from (block.clone() for block in joined[:, :whole].split(size, dim=1))
        waiting, length = [joined[:, whole:].clone()], length - whole
    if length:
        yield torch.cat(waiting, dim=1)

"""Sound in and out of files: any format, rate and channel count to float32 (C, T), and back.

The decoder is chosen by content, never by a file's name. Integer samples are scaled to [-1, 1);
float files and lossy decoders may overshoot a little, which is kept.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from echoic.audio.errors import AudioDecodeError, AudioWarning
from echoic.audio.reader import decode, go_to, no_samples, open_reader, stream_blocks
from echoic.audio.resample import Resampler
from echoic.audio.source import Source
from echoic.audio.write import save

__all__ = [
    "AUDIO_SUFFIXES",
    "Audio",
    "AudioDecodeError",
    "AudioInfo",
    "AudioWarning",
    "Source",
    "blocks",
    "info",
    "load",
    "save",
]

#: Names by which a scan of a folder may pick sound files, lower case with the dot.
AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
        *(".au", ".snd", ".w64", ".rf64", ".caf", ".m4a", ".m4b", ".mp4", ".mov", ".webm"),
        *(".mkv", ".mka", ".aac", ".wma", ".amr", ".3gp"),
    )
)


class Audio(NamedTuple):
    """A recording in memory.

    Attributes:
        wav: (C, T) float32, nominally in [-1, 1].
        sample_rate: in Hz.
    """

    wav: torch.Tensor
    sample_rate: int


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a source holds.

    Attributes:
        sample_rate: in Hz.
        channels: how many.
        num_frames: samples per channel that are really there; None where only decoding all of it
            or using up a stream would tell.
        format: the container as its decoder calls it, such as WAV or matroska,webm.
        subtype: the coding of samples, such as PCM_16; FFMPEG for what ffmpeg decodes.
        duration: seconds; None where unknown.
    """

    sample_rate: int
    channels: int
    num_frames: int | None
    format: str
    subtype: str
    duration: float | None


def load(
    source: Source,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    offset: float = 0.0,
    duration: float | None = None,
) -> Audio:
    """Reads a recording, or a stretch of it, into memory.

    Args:
        source: path, bytes, binary file object (rewound if it can seek), or "-" for standard input.
        sample_rate: resample to this rate in Hz; None keeps the source's.
        mono: mix the channels to one by their mean.
        offset: seconds to leave out at the beginning, rounded to a sample and exact in all formats.
        duration: seconds to read at most; None for all.

    Returns:
        The sound, at least one sample of it.

    Raises:
        AudioDecodeError: if it is not sound, is damaged from the start, is empty, holds NaN or
            infinite samples, or ends before `offset`.
        FileNotFoundError, IsADirectoryError, PermissionError: if the path cannot be read.
        ValueError: if an argument is out of its range.

    Warns:
        AudioWarning: if the source is cut or damaged further on; what is there is returned.
    """
    _check_rate(sample_rate)
    _check_stretch(offset, duration)
    with open_reader(source) as reader:
        parts = list(decode(reader, go_to(reader, offset, duration)))
        if not parts:
            raise no_samples(reader.name, offset)
        rate = reader.sample_rate
    wav = torch.cat(parts, dim=1)
    if mono:
        wav = wav.mean(dim=0, keepdim=True)
    return Audio(
        wav if sample_rate is None else Resampler(rate, sample_rate)(wav), sample_rate or rate
    )


def blocks(
    source: Source,
    *,
    seconds: float,
    sample_rate: int | None = None,
    mono: bool = False,
    offset: float = 0.0,
    duration: float | None = None,
) -> Generator[torch.Tensor, None, None]:
    """Reads a recording of any length, or a stretch of it, block by block in constant memory.

    Joined, the blocks equal `load` to 1e-5. WAV and AU from standard input come out while they are
    still being written; other formats from a pipe are first copied to a temporary file.

    Args:
        source: as for `load`; opened at the first `next`, closed with the iterator.
        seconds: length of a block.
        sample_rate: resample to this rate in Hz; None keeps the source's.
        mono: mix the channels to one by their mean.
        offset: as for `load`.
        duration: as for `load`.

    Returns:
        An iterator over (C, T) float32 with T = round(seconds * rate); the last may be shorter.

    Raises:
        AudioDecodeError: while iterating, for the reasons given at `load`.
        FileNotFoundError, IsADirectoryError, PermissionError: if the path cannot be read.
        ValueError: if an argument is out of its range.
    """
    _check_rate(sample_rate)
    _check_stretch(offset, duration)
    if not seconds > 0:
        raise ValueError(f"blocks of {seconds} seconds; give a length above 0")

    def generate() -> Generator[torch.Tensor, None, None]:
        with open_reader(source) as reader:
            frames = go_to(reader, offset, duration)
            yield from stream_blocks(
                reader, seconds, sample_rate, mono, frames=frames, offset=offset
            )

    return generate()


def info(source: Source) -> AudioInfo:
    """Tells what a source holds, without decoding it where its length is sure without.

    Args:
        source: as for `load`; standard input is used up to the header.

    Returns:
        Its rate, channels, true length, format.

    Raises:
        AudioDecodeError: if it is not sound.
        FileNotFoundError, IsADirectoryError, PermissionError: if the path cannot be read.
    """
    with open_reader(source) as reader:
        frames = reader.count_frames()
        claimed = getattr(reader, "claimed_duration", lambda: None)()
        return AudioInfo(
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            num_frames=frames,
            format=reader.format,
            subtype=reader.subtype,
            duration=claimed if frames is None else frames / reader.sample_rate,
        )


def _check_rate(sample_rate: int | None) -> None:
    if sample_rate is not None and (sample_rate != int(sample_rate) or sample_rate <= 0):
        raise ValueError(f"sample_rate is {sample_rate!r}; give a positive whole number of Hz")


def _check_stretch(offset: float, duration: float | None) -> None:
    if not offset >= 0 or (duration is not None and not duration > 0):
        raise ValueError(f"offset {offset} must be >= 0 and duration {duration} > 0 seconds")

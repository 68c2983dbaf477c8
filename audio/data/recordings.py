"""Recordings to cut training sounds from: lists of files, in memory or on the disk."""

import bisect
import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import AUDIO_SUFFIXES, info, load

log = logging.getLogger(__name__)

_FULL_SCALE = 32768.0
_THREADS = 4
_SPARE = 64


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of sound, or a stretch of one.

    Attributes:
        path: of the file.
        duration: seconds, if known. Without an offset it describes the file and cuts nothing off.
        offset: seconds into the file at which the stretch begins, `duration` long or all the rest;
            None for the whole file.
    """

    path: Path
    duration: float | None = None
    offset: float | None = None

    def load(self, sample_rate: int, start: int = 0, samples: int | None = None) -> Tensor:
        """Return mono sound (N,) float32.

        Args:
            sample_rate: to resample to, in Hz.
            start: samples at that rate to leave out at the beginning.
            samples: at most so many; None for all.

        Raises:
            AudioDecodeError, OSError: the file cannot be read, or ends before.
        """
        skipped = start / sample_rate
        seconds = None
        if self.offset is not None and self.duration is not None:
            seconds = self.duration - skipped
            if seconds <= 0:
                return torch.zeros(0)
        if samples is not None:
            # A little more, since offsets in seconds and other rates are rounded.
            wanted = (samples + _SPARE) / sample_rate
            seconds = wanted if seconds is None else min(seconds, wanted)
        offset = (self.offset or 0.0) + skipped
        found = load(self.path, sample_rate=sample_rate, mono=True, offset=offset, duration=seconds)
        return found.wav[0, :samples]


def find_recordings(source: Source) -> list[Recording]:
    """Return the recordings of a source, in an order that does not depend on the disk.

    Raises:
        ValueError: there are none, or a row of the manifest names none.
        OSError: the manifest cannot be read.
    """
    path = Path(source.path)
    found = list(_in_folder(path, source) if path.is_dir() else _in_manifest(source))
    if not found:
        of = "".join(f" of {name} {value!r}" for name, value in source.conditions.items())
        raise ValueError(f"{path} has no recordings{of}: give a manifest or a folder with some")
    return found


def _in_folder(folder: Path, source: Source) -> Iterator[Recording]:
    if source.conditions:
        name, value = next(iter(source.conditions.items()))
        raise ValueError(f"{folder} is a folder, which has no {name} {value!r}: give a manifest")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            yield Recording(path)


def _in_manifest(source: Source) -> Iterator[Recording]:
    for row in rows_of(source):
        yield Recording(row.audio, row.duration, row.offset)


R = TypeVar("R", bound=Recording)


class SoundBank(Generic[R]):
    """Recordings, or stretches of some, at one sample rate, mono, of which any part can be had.

    In memory they take two bytes a sample (16 bit): an hour at 16 kHz is 115 MB, decoded once at
    the start, so that a processor that trains does not decode; damaged files are left out with a
    warning. On the disk each stretch is read when it is asked for.

    Args:
        recordings: of them.
        sample_rate: Hz.
        cache: keep them in memory.

    Attributes:
        recordings: those that were not left out.

    Raises:
        ValueError: not one of them can be read.
    """

    def __init__(self, recordings: Sequence[R], sample_rate: int, cache: bool) -> None:
        self.recordings = recordings
        self.sample_rate = sample_rate
        self.pcm: list[np.ndarray] | None = None
        if cache:
            log.info("reading %d recordings into memory", len(recordings))
            with ThreadPoolExecutor(_THREADS) as pool:
                read = list(pool.map(self._read, recordings))
            self.pcm = [pcm for pcm in read if pcm is not None]
            pairs = zip(recordings, read, strict=True)
            self.recordings = [recording for recording, pcm in pairs if pcm is not None]
            lengths = [len(pcm) for pcm in self.pcm]
            if not lengths:
                raise ValueError(f"none of {len(recordings)} recordings could be read")
        else:
            lengths = [self._length(recording) for recording in recordings]
        self.lengths = lengths
        self._ends = list(itertools.accumulate(lengths))

    @property
    def seconds(self) -> float:
        """Length of all recordings."""
        return self._ends[-1] / self.sample_rate

    def at(self, share: float) -> int:
        """Return the recording at a share (0 to 1) of the whole length: long ones are met more."""
        return min(bisect.bisect_right(self._ends, share * self._ends[-1]), len(self.lengths) - 1)

    def stretch(self, index: int, start: int, samples: int) -> Tensor:
        """Return (samples,) float32 of a recording, less where it ends before.

        Raises:
            AudioDecodeError, OSError: the file cannot be read.
        """
        if self.pcm is not None:
            part = self.pcm[index][start : start + samples]
            return torch.from_numpy(part.astype(np.float32) / _FULL_SCALE)
        return self.recordings[index].load(self.sample_rate, start, samples)

    def _read(self, recording: Recording) -> np.ndarray | None:
        """Return the samples; None, and a warning, for a file that is damaged."""
        try:
            wav = recording.load(self.sample_rate)
        except AudioDecodeError as error:
            log.warning("left out of training: %s", error)
            return None
        return (wav * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1).short().numpy()

    def _length(self, recording: Recording) -> int:
        seconds = recording.duration
        if seconds is None:
            seconds = info(recording.path).duration
        if seconds is None:
            seconds = (
                load(recording.path, mono=True).wav.shape[1] / info(recording.path).sample_rate
            )
        if recording.duration is None:
            seconds -= recording.offset or 0.0
        return max(1, int(seconds * self.sample_rate))

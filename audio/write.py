"""Writing sound files: complete or not at all."""

import contextlib
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import soundfile as sf
import torch

from echoic.audio.errors import AudioWarning, one_line

# suffix -> libsndfile's format and the subtype that is taken when none is asked for
_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
SOUND_SUFFIXES = frozenset(_FORMATS)
"""What the name of a file that is to be written may end in, lower case with the dot."""
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_UNBOUNDED = {"FLOAT", "DOUBLE"}
# libsndfile's Vorbis encoder overflows the stack when it is given minutes at once.
_BLOCK = 65536


# Beyond this a WAV's sizes do not fit their 32 bits; RF64 is WAV with longer ones.
_LARGEST_WAV = 2**32 - 2**16


class SoundWriter:
    """Writes a sound file block by block; it appears when it is complete, or not at all.

    As a context it is closed where the block ends, and discarded where an error ends it.

    Args:
        path: where to; its suffix chooses wav, flac, ogg (Vorbis), opus or mp3.
        sample_rate: in Hz.
        channels: how many.
        subtype: libsndfile's name for the coding of samples; None for 16 bits or the lossy usual.
        num_frames: samples of a channel to come, if known: for a WAV of more than 4 GB.

    Raises:
        ValueError: if the suffix, subtype, rate or number of channels cannot be written.
        OSError: if the folder does not exist or cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        channels: int,
        *,
        subtype: str | None = None,
        num_frames: int | None = None,
    ) -> None:
        self._target = Path(path)
        self._name = one_line(str(self._target))
        kind, self._subtype = _format(self._target, subtype, self._name)
        if kind == "WAV" and (num_frames or 0) * channels * _width(self._subtype) > _LARGEST_WAV:
            kind = "RF64"
        self._channels = channels
        self._beyond, self._peak, self._position = 0, 0.0, 0
        temporary = f".{self._target.name}.{uuid.uuid4().hex[:8]}.tmp"
        self._temporary = self._target.with_name(temporary)
        self._file: sf.SoundFile | None = None
        self._raw = _CarefulFile(self._temporary)
        try:
            self._file = sf.SoundFile(
                cast(BinaryIO, self._raw), "w", sample_rate, channels, self._subtype, format=kind
            )
        except sf.LibsndfileError as error:
            self.discard()
            reason = error.error_string.rstrip(".")
            what = f"{channels} channels at {sample_rate} Hz as {kind}/{self._subtype} ({reason})"
            raise ValueError(
                f"{self._name}: cannot write {what}; choose another rate or format"
            ) from None

    def __enter__(self) -> "SoundWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(self, wav: torch.Tensor) -> None:
        """Takes the next samples.

        Args:
            wav: (C, T) or (T,) float, T >= 0.

        Raises:
            ValueError: if the shape does not fit, or a sample is NaN or infinite.
            OSError: if the disk is full.
        """
        samples = _to_frames(wav, self._name, self._position)
        if samples.shape[1] != self._channels:
            raise ValueError(
                f"{self._name}: got {samples.shape[1]} channels; give {self._channels} as agreed"
            )
        if self._subtype not in _UNBOUNDED:
            samples = self._clipped(samples)
        steps = _to_steps(samples, self._subtype)
        assert self._file is not None
        for start in range(0, len(steps), _BLOCK):
            with self._full_disk_told():
                self._file.write(steps[start : start + _BLOCK])
        self._position += len(samples)

    def close(self) -> None:
        """Completes the file and moves it into place.

        Raises:
            OSError: if it cannot be written.

        Warns:
            AudioWarning: if samples were clipped.
        """
        try:
            with self._full_disk_told():
                self._close_files()
            os.replace(self._temporary, self._target)
        finally:
            self.discard()
        if self._beyond:
            text = f"{self._name}: clipped {self._beyond} samples beyond [-1, 1]"
            text = f"{text} (peak {self._peak:.3g}); scale the signal down, or write FLOAT"
            warnings.warn(text, AudioWarning, stacklevel=4)

    def discard(self) -> None:
        """Removes what was written; nothing appears."""
        with contextlib.suppress(sf.LibsndfileError):
            self._close_files()
        with contextlib.suppress(FileNotFoundError):
            self._temporary.unlink()

    @contextlib.contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        """Raise what libsndfile makes of an error of the disk as that error."""
        try:
            yield
        except (sf.LibsndfileError, AssertionError) as error:  # the latter: it wrote too little
            reason = getattr(error, "error_string", None) or "cannot be written whole"
            self._raise_of_disk()
            raise OSError(f"{self._name}: {reason}; free some space") from None
        self._raise_of_disk()

    def _raise_of_disk(self) -> None:
        error = self._raw.error
        if error is not None:
            raise OSError(f"{self._name}: {error.strerror}; free some space") from error

    def _close_files(self) -> None:
        if self._file is not None:
            self._file.close()  # writes the last bytes, so before the file below it
        self._raw.close()

    def _clipped(self, samples: np.ndarray) -> np.ndarray:
        """Samples within [-1, 1]; those beyond are counted."""
        beyond = int((np.abs(samples) > 1).sum())
        if not beyond:
            return samples
        self._beyond += beyond
        self._peak = max(self._peak, float(np.abs(samples).max()))
        return np.clip(samples, -1, 1)


class _CarefulFile:
    """A file for libsndfile, in whose callbacks nothing may be raised: errors are kept.

    Attributes:
        error: the first.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        # Without a buffer, so that a full disk is told by `write` and by nothing else.
        self._raw = open(path, "xb+", buffering=0)  # noqa: SIM115 -- closed with the writer
        self.seek, self.tell, self.close = self._raw.seek, self._raw.tell, self._raw.close
        self.read, self.readinto = self._raw.read, self._raw.readinto

    def write(self, data: bytes) -> int:
        written = 0
        try:
            while written < len(data) and self.error is None:
                written += self._raw.write(data[written:])
        except OSError as error:
            self.error = error
        return written


def save(
    path: str | os.PathLike[str], wav: torch.Tensor, sample_rate: int, *, subtype: str | None = None
) -> None:
    """Writes a sound file under a temporary name and moves it into place when it is complete.

    Samples beyond [-1, 1] are clipped, with a warning that says how many and how far; float
    subtypes keep them. PCM of 16 and 24 bits survives `load` and `save` bit by bit.

    Args:
        path: where to; its suffix chooses wav, flac, ogg (Vorbis), opus or mp3.
        wav: (C, T) or (T,) samples; any float type, on any device.
        sample_rate: in Hz; Opus takes 8, 12, 16, 24 and 48 kHz.
        subtype: libsndfile's name, such as PCM_24 or FLOAT; None for 16 bits or the codec itself.

    Raises:
        ValueError: if the suffix, subtype, rate or shape cannot be written, or a sample is NaN or
            infinite.
        OSError: if the folder does not exist or cannot be written.

    Warns:
        AudioWarning: if samples were clipped.
    """
    target = Path(path)
    name = one_line(str(target))
    _format(target, subtype, name)
    frames = _to_frames(wav, name)
    if not len(frames):
        raise _bad_shape(wav, name)
    with SoundWriter(
        target, sample_rate, frames.shape[1], subtype=subtype, num_frames=len(frames)
    ) as writer:
        writer.write(wav)


def _format(target: Path, subtype: str | None, name: str) -> tuple[str, str]:
    """The format and subtype of a file, as libsndfile calls them."""
    if target.suffix.lower() not in _FORMATS:
        known = " ".join(_FORMATS)
        raise ValueError(
            f"{name}: cannot write {target.suffix or 'no suffix'!r}; choose of {known}"
        )
    kind, usual = _FORMATS[target.suffix.lower()]
    subtype = (subtype or usual).upper()
    if not sf.check_format(kind, subtype):
        known = " ".join(sf.available_subtypes(kind))
        raise ValueError(f"{name}: {kind} cannot hold {subtype}; choose of {known}")
    return kind, subtype


def _width(subtype: str) -> int:
    """Bytes of a sample."""
    return 8 if subtype == "DOUBLE" else _BITS.get(subtype, 32) // 8


def _bad_shape(wav: torch.Tensor, name: str) -> ValueError:
    shape = f"{tuple(wav.shape)} {wav.dtype}"
    return ValueError(f"{name}: got samples of shape {shape}; give float (C, T) or (T,), T > 0")


def _to_frames(wav: torch.Tensor, name: str, position: int = 0) -> np.ndarray:
    """(T, C) float on the CPU, checked; `position` is that of the first sample in its file."""
    if wav.dim() not in (1, 2) or not wav.is_floating_point():
        raise _bad_shape(wav, name)
    samples = (wav if wav.dim() == 2 else wav[None]).detach().cpu().T
    samples = samples.numpy() if samples.dtype == torch.float64 else samples.float().numpy()
    bad = np.flatnonzero(~np.isfinite(samples).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{name}: sample {position + bad[0]} is NaN or infinite; write only finite samples"
        )
    return samples


def _to_steps(samples: np.ndarray, subtype: str) -> np.ndarray:
    """Whole steps for PCM, scaled by 2^(n-1) as `load` does; libsndfile takes one step less."""
    bits = _BITS.get(subtype)
    if bits is None:
        return samples
    scaled = np.round(samples.astype(np.float64) * 2.0 ** (bits - 1))
    whole = np.clip(scaled, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int32)
    return whole.astype(np.int16) if bits == 16 else whole << (32 - bits)

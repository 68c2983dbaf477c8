"""Writing sound files: complete or not at all."""

import contextlib
import os
import uuid
import warnings
from pathlib import Path

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
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_UNBOUNDED = {"FLOAT", "DOUBLE"}
# libsndfile's Vorbis encoder overflows the stack when it is given minutes at once.
_BLOCK = 65536


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
    samples = _to_frames(wav, name)
    if subtype not in _UNBOUNDED:
        samples = _clipped(samples, name)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _write(temporary, _to_steps(samples, subtype), sample_rate, kind, subtype, name)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _to_frames(wav: torch.Tensor, name: str) -> np.ndarray:
    """(T, C) float on the CPU, checked."""
    if wav.dim() not in (1, 2) or not wav.is_floating_point() or wav.numel() == 0:
        shape = f"{tuple(wav.shape)} {wav.dtype}"
        raise ValueError(f"{name}: got samples of shape {shape}; give float (C, T) or (T,), T > 0")
    samples = wav.detach().cpu().reshape(-1, wav.shape[-1]).T
    samples = samples.numpy() if samples.dtype == torch.float64 else samples.float().numpy()
    bad = np.flatnonzero(~np.isfinite(samples).all(axis=1))
    if bad.size:
        raise ValueError(f"{name}: sample {bad[0]} is NaN or infinite; write only finite samples")
    return samples


def _clipped(samples: np.ndarray, name: str) -> np.ndarray:
    """Samples within [-1, 1], with a warning if any were beyond."""
    beyond = int((np.abs(samples) > 1).sum())
    if beyond:
        peak = np.abs(samples).max()
        text = f"{name}: clipped {beyond} samples beyond [-1, 1] (peak {peak:.3g})"
        warnings.warn(f"{text}; scale the signal down, or write FLOAT", AudioWarning, stacklevel=3)
        return np.clip(samples, -1, 1)
    return samples


def _to_steps(samples: np.ndarray, subtype: str) -> np.ndarray:
    """Whole steps for PCM, scaled by 2^(n-1) as `load` does; libsndfile takes one step less."""
    bits = _BITS.get(subtype)
    if bits is None:
        return samples
    scaled = np.round(samples.astype(np.float64) * 2.0 ** (bits - 1))
    whole = np.clip(scaled, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int32)
    return whole.astype(np.int16) if bits == 16 else whole << (32 - bits)


def _write(
    path: Path, samples: np.ndarray, sample_rate: int, kind: str, subtype: str, name: str
) -> None:
    """Writes block by block."""
    channels = samples.shape[1]
    with open(path, "xb+") as raw:
        try:
            with sf.SoundFile(raw, "w", sample_rate, channels, subtype, format=kind) as file:
                for start in range(0, len(samples), _BLOCK):
                    file.write(samples[start : start + _BLOCK])
        except sf.LibsndfileError as error:
            reason = error.error_string.rstrip(".")
            what = f"{channels} channels at {sample_rate} Hz as {kind}/{subtype} ({reason})"
            raise ValueError(
                f"{name}: cannot write {what}; choose another rate or format"
            ) from None

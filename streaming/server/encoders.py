"""Sound to bytes while it comes: samples, WAV, FLAC, Ogg with Opus, and MP3."""

import struct
from typing import Any, Literal, Protocol, cast

import numpy as np
import soundfile as sf
import torch

from echoic.audio.resample import Resampler

SoundFormat = Literal["mp3", "opus", "flac", "wav", "pcm"]
MEDIA_TYPES: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
#: Of `pcm`, whatever the voice's own rate is: what OpenAI's clients expect.
PCM_RATE = 24_000
_LIBSNDFILE = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
_UNKNOWN = 0xFFFFFFFF  # the length of a WAV that is still being spoken

Samples = np.ndarray[Any, Any]


class Encoder(Protocol):
    """(n,) float32 in, bytes out."""

    def encode(self, wav: Samples, /) -> bytes:
        """Return what is ready."""
        ...

    def finish(self) -> bytes:
        """Return the rest."""
        ...


def writable_formats() -> list[str]:
    """Return the formats that can be written here, by the libsndfile that is installed."""
    known = sf.available_formats()
    return [name for name in MEDIA_TYPES if name in ("wav", "pcm") or _LIBSNDFILE[name][0] in known]


def open_encoder(form: SoundFormat, sample_rate: int) -> Encoder:
    """Return an encoder of mono sound.

    Args:
        form: see `writable_formats`.
        sample_rate: Hz of what comes.
    """
    if form == "pcm":
        return _Pcm(sample_rate, PCM_RATE)
    if form == "wav":
        return _Wav(sample_rate)
    rate = sample_rate
    if form == "opus" and rate not in _OPUS_RATES:
        rate = min((r for r in _OPUS_RATES if r >= rate), default=48_000)
    return _Coded(form, sample_rate, rate)


def _int16(wav: Samples) -> bytes:
    return (np.clip(wav, -1, 1) * 32767).round().astype("<i2").tobytes()


class _Rate:
    """Brings sound to another rate, piece by piece."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._resampler = None if from_rate == to_rate else Resampler(from_rate, to_rate)
        if self._resampler is not None:
            self._state = self._resampler.initial_state(1)

    def step(self, wav: Samples) -> Samples:
        if self._resampler is None:
            return wav
        self._state, sound = self._resampler.step(self._state, torch.from_numpy(wav)[None])
        return sound[0].numpy()

    def finish(self) -> Samples:
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return self._resampler.finish(self._state)[1][0].numpy()


class _Pcm:
    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._rate = _Rate(from_rate, to_rate)

    def encode(self, wav: Samples) -> bytes:
        return _int16(self._rate.step(wav))

    def finish(self) -> bytes:
        return _int16(self._rate.finish())


class _Wav:
    def __init__(self, rate: int) -> None:
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        head = struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE")
        self._head = head + form + struct.pack("<4sI", b"data", _UNKNOWN)

    def encode(self, wav: Samples) -> bytes:
        head, self._head = self._head, b""
        return head + _int16(wav)

    def finish(self) -> bytes:
        head, self._head = self._head, b""
        return head


class _Coded:
    def __init__(self, form: str, from_rate: int, to_rate: int) -> None:
        kind, subtype = _LIBSNDFILE[form]
        self._rate = _Rate(from_rate, to_rate)
        self._sent = _Sent()
        # A header of unknown length tells nothing of MP3 but a constant rate.
        steady = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} if form == "mp3" else {}
        self._file = sf.SoundFile(
            cast(Any, self._sent), "w", to_rate, 1, subtype, format=kind, **steady
        )

    def encode(self, wav: Samples) -> bytes:
        self._file.write(self._rate.step(wav))
        return self._sent.take()

    def finish(self) -> bytes:
        self._file.write(self._rate.finish())
        self._file.close()
        return self._sent.take()


class _Sent:
    """A file whose front is gone already: what is written there again is left out.

    Encoders go back to put lengths into their header, where "unknown" stands until then.
    """

    def __init__(self) -> None:
        self._gone = 0
        self._bytes = bytearray()
        self._position = 0

    def take(self) -> bytes:
        found = bytes(self._bytes)
        self._gone += len(found)
        self._bytes.clear()
        return found

    def write(self, data: bytes) -> int:
        lost = max(0, min(len(data), self._gone - self._position))
        start = max(0, self._position - self._gone)
        kept = data[lost:]
        self._bytes[start : start + len(kept)] = kept
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._gone + len(self._bytes))[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

"""Lossy coding in memory: what is left of sound after a call, a stream or a small file."""

import io
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from echoic.audio.augment.band import back, resampler
from echoic.audio.augment.draw import Range, check_probability, check_range, choose, uniform

CodecName = Literal["opus", "vorbis", "mulaw", "gsm"]


class _Format(NamedTuple):
    container: str
    subtype: str
    rates: tuple[int, ...]  # that the codec takes, the best last; none: any


_FORMATS: dict[str, _Format] = {
    "opus": _Format("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    "vorbis": _Format("OGG", "VORBIS", ()),
    "mulaw": _Format("WAV", "ULAW", (8000,)),
    "gsm": _Format("WAV", "GSM610", (8000,)),
}
# libsndfile's Vorbis encoder overflows the stack when it is given minutes at once.
_BLOCK = 65536


def recode(wav: Tensor, sample_rate: int, codec: CodecName, *, compression: float = 0.5) -> Tensor:
    """Encode and decode sound in memory by libsndfile.

    Args:
        wav: (T,) or (C, T) float32; beyond [-1, 1] it is clipped.
        sample_rate: in Hz.
        codec: "opus" or "vorbis" at the sample rate (Opus: the highest of its rates below it);
            "mulaw" (G.711) or "gsm" (GSM 06.10) at the telephone's 8 kHz.
        compression: 0 least to 1 most loss, for Opus and Vorbis.

    Returns:
        Sound of the same shape and rate, not shifted in time.

    Raises:
        ValueError: the codec is unknown, or a sample is NaN or infinite.
    """
    if codec not in _FORMATS:
        raise ValueError(f"codec is {codec!r}; choose of {', '.join(_FORMATS)}")
    length = wav.shape[-1]
    if length == 0:
        return wav
    form = _FORMATS[codec]
    rate = _coded_rate(form, sample_rate)
    rows = wav.detach().reshape(-1, length).cpu()
    if not bool(rows.isfinite().all()):
        raise ValueError("wav holds NaN or infinite samples; a codec cannot take them")
    narrow = resampler(sample_rate, rate)(rows).clamp(-1, 1)
    coded = _round_trip(narrow.numpy(), rate, form, compression)
    out = back(torch.from_numpy(coded), rate, sample_rate, length)
    return out.reshape(wav.shape).to(wav.device)


def _coded_rate(form: _Format, sample_rate: int) -> int:
    if not form.rates:
        return sample_rate
    return max((r for r in form.rates if r <= sample_rate), default=form.rates[0])


def _round_trip(rows: np.ndarray, rate: int, form: _Format, compression: float) -> np.ndarray:
    """Code and decode each row of (C, N) alone, so that a channel does not hear the others."""
    decoded = np.zeros_like(rows)
    for row, out in zip(rows, decoded, strict=True):
        memory = io.BytesIO()
        level = compression if form.container == "OGG" else None
        with sf.SoundFile(
            *(memory, "w", rate, 1, form.subtype),
            format=form.container,
            compression_level=level,
        ) as file:
            for begin in range(0, len(row), _BLOCK):
                file.write(row[begin : begin + _BLOCK])
        memory.seek(0)
        # GSM fills its last block with silence; nothing may be longer than what went in.
        heard = sf.read(memory, dtype="float32")[0][: len(row)]
        out[: len(heard)] = heard
    return decoded


@dataclass(frozen=True, slots=True)
class Codec:
    """A random lossy codec.

    Attributes:
        codecs: what may be drawn, all equally likely; repeat one to make it likelier.
        compression: (least, most) of Opus and Vorbis, 0 to 1.
        probability: of being applied. Opus takes much longer than all other effects together.
    """

    codecs: tuple[CodecName, ...] = ("opus", "vorbis", "mulaw", "gsm")
    compression: Range = (0.3, 1.0)
    probability: float = 0.1

    def __post_init__(self) -> None:
        known = get_args(CodecName)
        if not self.codecs or not set(self.codecs) <= set(known):
            raise ValueError(f"codecs are {self.codecs}; choose some of {', '.join(known)}")
        check_range("compression", self.compression, 0, 1)
        check_probability(self.probability)

    def __call__(self, wav: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Return (T,) or (C, T) sound after a drawn codec, at its own rate and length."""
        codec, level = choose(generator, self.codecs), uniform(generator, self.compression)
        return recode(wav, sample_rate, codec, compression=level)

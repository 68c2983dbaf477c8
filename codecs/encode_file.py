"""Recordings of any length, rate and number of channels to `.echo` files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from echoic.audio.io import Source
from echoic.audio.reader import open_reader, stream_blocks
from echoic.audio.resample import Resampler
from echoic.codecs.codec import Codec, NotStreamable
from echoic.codecs.container import EchoWriter, Header
from echoic.codecs.weights import weights_hash

SEGMENT_SECONDS = 2.0
"""Sound in a segment: what a reader waits for, and what damage costs."""
_BLOCK_SECONDS = 1.0

Told = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """What was written.

    Attributes:
        header: of the file.
        num_samples: of a channel, at the original rate.
        num_frames: frames of codes.
        num_bytes: size of the file.
    """

    header: Header
    num_samples: int
    num_frames: int
    num_bytes: int

    @property
    def duration(self) -> float:
        """Seconds of sound."""
        return self.num_samples / self.header.original_sample_rate

    @property
    def bitrate(self) -> float:
        """Bits a second of the whole file, heads and checksums among them."""
        return 8 * self.num_bytes / self.duration


class _Encoding(Protocol):
    """Samples (C, T) at the codec's rate in, codes (C, Q, F) out."""

    def step(self, wav: Tensor) -> Tensor: ...

    def finish(self) -> Tensor: ...


def encode_file(
    codec: Codec,
    source: Source,
    file: BinaryIO,
    *,
    model: str,
    n_q: int | None = None,
    entropy: bool = False,
    segment_seconds: float = SEGMENT_SECONDS,
    patch_length: bool = True,
    note: Callable[[str], None] = lambda _: None,
    progress: Told = lambda _: None,
) -> EncodedFile:
    """Code a recording, in constant memory where the codec streams.

    The sound is resampled to the codec's rate on the way; each channel is coded on its own.

    Args:
        codec: in evaluation mode.
        source: as for `echoic.audio.io.load`.
        file: where to, binary.
        model: the codec's name, by which a reader finds it.
        n_q: codes of a frame; None for all.
        entropy: code by the frequencies of codes, where that is shorter.
        segment_seconds: sound in a segment of the file.
        patch_length: see `EchoWriter`.
        note: is told, in a line, where a codec needs the whole recording at once.
        progress: is told how many seconds were coded since it was last told.

    Raises:
        AudioDecodeError, OSError: see `echoic.audio.io.load`.
        ValueError: an n_q or a segment length that is out of range.
    """
    num_codebooks = codec.check_n_q(n_q)
    if not segment_seconds > 0:
        raise ValueError(f"segments of {segment_seconds} s, expected more than 0")
    frames = max(1, min(round(segment_seconds * codec.frame_rate), 2**16 - 1))
    with open_reader(source) as reader, torch.no_grad():
        header = Header(
            model=model,
            weights=weights_hash(codec),
            sample_rate=codec.sample_rate,
            hop_length=codec.hop_length,
            num_codebooks=num_codebooks,
            codebook_size=codec.codebook_size,
            original_sample_rate=reader.sample_rate,
            channels=reader.channels,
            segment_frames=frames,
        )
        encoding = _encoding(codec, reader.channels, n_q, note)
        resampler = _Resampling(reader.sample_rate, codec.sample_rate, reader.channels)
        blocks = stream_blocks(reader, _BLOCK_SECONDS, None, mono=False)
        first = next(blocks)  # before anything is written: here most unreadable sources tell
        writer = EchoWriter(file, header, entropy=entropy, patch_length=patch_length)
        for block in _with_first(first, blocks):
            writer.write(encoding.step(resampler.step(block)))
            progress(block.shape[1] / reader.sample_rate)
        writer.write(encoding.step(resampler.finish()))
        writer.write(encoding.finish())
        writer.close(resampler.received)
    return EncodedFile(writer.header, resampler.received, writer.num_frames, writer.num_bytes)


def _with_first(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest


def _encoding(
    codec: Codec, channels: int, n_q: int | None, note: Callable[[str], None]
) -> _Encoding:
    try:
        return _Streamed(codec, channels, n_q)
    except NotStreamable as e:
        note(f"{e}; the whole recording is held in memory")
        return _Whole(codec, n_q)


class _Resampling:
    """A resampler with its state; at least one sample comes out of any sound."""

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self._resampler = Resampler(from_rate, to_rate)
        self._state = self._resampler.initial_state(channels)
        self.received = 0
        self._given = 0

    def step(self, wav: Tensor) -> Tensor:
        self._state, out = self._resampler.step(self._state, wav)
        self.received += wav.shape[1]
        self._given += out.shape[1]
        return out

    def finish(self) -> Tensor:
        self._state, out = self._resampler.finish(self._state)
        if self._given + out.shape[1] == 0:  # two samples at 96 kHz are no third of one at 16 kHz
            return out.new_zeros(out.shape[0], 1)
        return out


class _Streamed:
    def __init__(self, codec: Codec, channels: int, n_q: int | None) -> None:
        self._encoder = codec.streaming_encoder(n_q)
        self._device = codec.device
        self._state: Any = self._encoder.initial_state(channels, device=self._device)

    def step(self, wav: Tensor) -> Tensor:
        self._state, codes = self._encoder.step(self._state, wav.to(self._device))
        return codes

    def finish(self) -> Tensor:
        self._state, codes = self._encoder.finish(self._state)
        return codes


class _Whole:
    def __init__(self, codec: Codec, n_q: int | None) -> None:
        self._codec, self._n_q = codec, n_q
        self._blocks: list[Tensor] = []

    def step(self, wav: Tensor) -> Tensor:
        self._blocks.append(wav)
        books = self._codec.check_n_q(self._n_q)
        return torch.empty(wav.shape[0], books, 0, dtype=torch.int64)

    def finish(self) -> Tensor:
        wav = torch.cat(self._blocks, dim=1).to(self._codec.device)
        return self._codec.encode(wav, n_q=self._n_q).codes

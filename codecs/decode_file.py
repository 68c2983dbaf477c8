"""From `.echo` files back to sound of the original's rate, channels and exact length."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from echoic.audio.resample import Resampler
from echoic.codecs.codec import Codec, NotStreamable
from echoic.codecs.container import EchoReader, Header
from echoic.codecs.weights import weights_hash

_SILENCE_SECONDS = 1.0


class WrongModel(ValueError):
    """A file was made by another codec than the one that is to decode it."""


class SoundSink(Protocol):
    """What takes samples block by block."""

    def write(self, wav: Tensor) -> None:
        """Take the next (C, T) float32."""
        ...


def check_model(codec: Codec, header: Header, name: str) -> None:
    """Make sure that a codec has the weights that a file was made with.

    Raises:
        WrongModel: it has not.
    """
    weights = weights_hash(codec)
    if weights != header.weights:
        raise WrongModel(
            f"was made by {header.model!r} with weights {_short(header.weights)}, and {name!r} has "
            f"weights {_short(weights)}; give the codec that made it with --model"
        )
    same = (codec.sample_rate, codec.hop_length, codec.codebook_size)
    if same != (header.sample_rate, header.hop_length, header.codebook_size):
        raise WrongModel(
            f"tells of {header.sample_rate} Hz, frames of {header.hop_length} samples and books of "
            f"{header.codebook_size} codes, {name!r} has {same}; give the codec that made it with "
            "--model"
        )
    codec.check_n_q(header.num_codebooks)


def decode_file(
    codec: Codec,
    reader: EchoReader,
    sink: SoundSink,
    *,
    note: Callable[[str], None] = lambda _: None,
    progress: Callable[[float], None] = lambda _: None,
) -> int:
    """Decode a file, in constant memory where the codec streams.

    Segments that a salvaging reader had to leave out become silence of the same length; the codec
    begins anew behind it.

    Args:
        codec: in evaluation mode, see `check_model`.
        reader: of the file, none of whose segments were read yet.
        sink: takes the sound at the original rate as it is decoded.
        note: is told, in a line, where a codec needs all codes at once.
        progress: is told how many seconds were decoded since it was last told.

    Returns:
        Samples of a channel that were given; exactly the original's, unless the file is cut.

    Raises:
        EchoFileError: damage, if `reader` does not salvage; the sound before it was given.
    """
    header = reader.header
    output = _Output(header, sink)
    decoding = _decoding(codec, header, note)
    position = 0
    with torch.no_grad():
        for segment in reader:
            if segment.start_frame > position:
                output.write(decoding.finish())
                for silence in _silence(header, segment.start_frame - position):
                    output.write(silence)
            output.write(decoding.step(segment.codes.to(codec.device)))
            position = segment.start_frame + segment.codes.shape[2]
            progress(segment.codes.shape[2] / header.frame_rate)
        output.write(decoding.finish())
        if reader.num_frames > position:  # the last segment was lost, but not the end
            for silence in _silence(header, reader.num_frames - position):
                output.write(silence)
    told = not any(gap.end_frame is None for gap in reader.gaps)
    return output.close(reader.num_samples if told else None)


class _Decoding(Protocol):
    """Codes (C, Q, F) in, samples (C, T) at the codec's rate out; begins anew after `finish`."""

    def step(self, codes: Tensor) -> Tensor: ...

    def finish(self) -> Tensor: ...


def _decoding(codec: Codec, header: Header, note: Callable[[str], None]) -> _Decoding:
    try:
        return _Streamed(codec, header)
    except NotStreamable as e:
        note(f"{e}; the whole recording is held in memory")
        return _Whole(codec, header)


class _Streamed:
    def __init__(self, codec: Codec, header: Header) -> None:
        self._decoder = codec.streaming_decoder(header.num_codebooks)
        self._start: Any = self._decoder.initial_state(header.channels, device=codec.device)
        self._state = self._start

    def step(self, codes: Tensor) -> Tensor:
        self._state, wav = self._decoder.step(self._state, codes)
        return wav

    def finish(self) -> Tensor:
        wav = self._decoder.finish(self._state)[1]
        self._state = self._start
        return wav


class _Whole:
    def __init__(self, codec: Codec, header: Header) -> None:
        self._codec, self._header = codec, header
        self._segments: list[Tensor] = []

    def step(self, codes: Tensor) -> Tensor:
        self._segments.append(codes)
        return torch.empty(codes.shape[0], 0)

    def finish(self) -> Tensor:
        if not self._segments:
            return torch.empty(self._header.channels, 0)
        wav = self._codec.decode(torch.cat(self._segments, dim=2))
        self._segments = []
        return wav


class _Output:
    """Sound at the codec's rate to the original's rate and exact length.

    What may lie behind the original's end is held back until the end is known: a frame.
    """

    def __init__(self, header: Header, sink: SoundSink) -> None:
        self._resampler = Resampler(header.sample_rate, header.original_sample_rate)
        self._state = self._resampler.initial_state(header.channels)
        self._held = torch.empty(header.channels, 0)
        ratio = header.original_sample_rate / header.sample_rate
        self._hold = math.ceil((header.hop_length + 1) * ratio) + 1
        self._sink = sink
        self._given = 0

    def write(self, wav: Tensor) -> None:
        self._state, out = self._resampler.step(self._state, wav.float().cpu())
        self._held = torch.cat([self._held, out], dim=1)
        self._give(self._held.shape[1] - self._hold)

    def close(self, num_samples: int | None) -> int:
        """Give the rest, cut or filled up to a length, or all of it."""
        self._held = torch.cat([self._held, self._resampler.finish(self._state)[1]], dim=1)
        if num_samples is not None:
            missing = num_samples - self._given - self._held.shape[1]
            self._held = torch.nn.functional.pad(self._held, (0, missing))
        self._give(self._held.shape[1])
        return self._given

    def _give(self, count: int) -> None:
        if count > 0:
            self._sink.write(self._held[:, :count])
            self._held = self._held[:, count:].clone()
            self._given += count


def _silence(header: Header, frames: int) -> Iterator[Tensor]:
    """Yield the samples of lost frames, block by block."""
    at_once = max(1, round(_SILENCE_SECONDS * header.frame_rate))
    for start in range(0, frames, at_once):
        count = min(at_once, frames - start)
        yield torch.zeros(header.channels, count * header.hop_length)


def _short(weights: str) -> str:
    return weights.removeprefix("sha256:")[:12]

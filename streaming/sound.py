"""Any sound a caller may have, made into the one that a session works with."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from echoic.audio.resample import Resampler, ResamplerState
from echoic.audio.silero import FRAME_SIZE, SAMPLE_RATE

_MAX_CHANNELS = 64
_MIN_RATE, _MAX_RATE = 1000, 768_000


class Mono(NamedTuple):
    """Sound that can be worked with.

    Attributes:
        wav: (1, T) float32 in [-1, 1], memory of its own.
        replaced: samples that were not finite and are 0 now, over all channels.
        clipped: samples that were cut to [-1, 1], over all channels.
    """

    wav: Tensor
    replaced: int
    clipped: int


def as_channels(wav: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """Check sound, and return it as (C, T) on the CPU; the memory may be the caller's.

    Args:
        wav: (T,) or (C, T), floats in [-1, 1] or int16, any T >= 0.

    Raises:
        TypeError: for other types.
        ValueError: for other shapes.
    """
    # A copy: torch refuses memory that runs backwards, and warns of what is read-only.
    sound = torch.from_numpy(np.array(wav, order="C")) if isinstance(wav, np.ndarray) else wav
    if not isinstance(sound, Tensor):
        raise TypeError(f"wav is a {type(wav).__name__}, expected a tensor or a numpy array")
    sound = sound.detach().cpu()
    if sound.dim() == 1:
        sound = sound[None]
    if sound.dim() != 2 or not 1 <= sound.shape[0] <= _MAX_CHANNELS:
        raise ValueError(
            f"wav has shape {tuple(wav.shape)}, expected (samples,) or (channels, samples) of 1 "
            f"to {_MAX_CHANNELS} channels: transpose (samples, channels)"
        )
    if sound.dtype != torch.int16 and not sound.is_floating_point():
        raise TypeError(
            f"wav is {sound.dtype}, expected floats in [-1, 1] or int16: convert other integers"
        )
    return sound


def as_mono(wav: Tensor | np.ndarray[Any, Any]) -> Mono:
    """Copy sound to float32, mixed to one channel; values that are no sound become 0.

    Args:
        wav: as `as_channels` takes it.

    Raises:
        TypeError: for other types.
        ValueError: for other shapes.
    """
    sound = as_channels(wav)
    if sound.dtype == torch.int16:
        return Mono(sound.to(torch.float32).mean(0, keepdim=True) / 32768, 0, 0)
    finite = sound.isfinite()
    clean = torch.where(finite, sound, sound.new_zeros(())).to(torch.float32)
    replaced = sound.numel() - int(finite.sum())
    clipped = int((clean.abs() > 1).sum())
    return Mono(clean.clamp_(-1, 1).mean(0, keepdim=True), replaced, clipped)


def checked_rate(rate: int) -> int:
    """Return a sample rate that sound may have.

    Raises:
        ValueError: for another one.
    """
    if rate != int(rate) or not _MIN_RATE <= rate <= _MAX_RATE:
        raise ValueError(
            f"sample_rate is {rate!r}, expected a whole number from {_MIN_RATE} to {_MAX_RATE} Hz"
        )
    return int(rate)


@dataclass(frozen=True, slots=True)
class IntakeState:
    """Where the conversion of a stream's sample rate stands.

    Attributes:
        rate: Hz of the sound that comes in.
        block: (1, N) sound that does not fill a block yet.
        resampler: between two blocks.
    """

    rate: int
    block: Tensor
    resampler: ResamplerState


class Intake:
    """Brings a stream of changing sample rate to one rate.

    The resampler is given blocks on a grid of the stream's, because soxr rounds differently for
    windows of different length: its output then does not depend on how the stream is cut, to the
    last bit. A block is as long as a frame of the voice activity detector, which waits for that
    much anyway.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def initial_state(self, rate: int) -> IntakeState:
        """Return the state of a stream that begins at `rate` Hz.

        Raises:
            ValueError: for a rate that no sound has.
        """
        rate = checked_rate(rate)
        resampler = _resampler(rate, self.sample_rate).initial_state(1)
        return IntakeState(rate, torch.zeros(1, 0), resampler)

    def step(self, state: IntakeState, wav: Tensor, rate: int) -> tuple[IntakeState, Tensor]:
        """Take (1, T) at `rate`; return the next state, and (1, T') that is ready.

        A change of rate ends what came before as `flush` does, and the stream goes on.
        """
        if rate != state.rate:
            fresh = self.initial_state(rate)
            tail = self.flush(state)
            state, sound = self.step(fresh, wav, rate)
            return state, torch.cat([tail, sound], dim=1)
        if rate == self.sample_rate:
            return state, wav
        resampler, size = _resampler(rate, self.sample_rate), self._block_size(rate)
        joined = torch.cat([state.block, wav], dim=1)
        whole = joined.shape[1] // size * size
        position, done = state.resampler, [wav[:, :0]]
        for start in range(0, whole, size):
            position, y = resampler.step(position, joined[:, start : start + size])
            done.append(y)
        return IntakeState(rate, joined[:, whole:].clone(), position), torch.cat(done, dim=1)

    def flush(self, state: IntakeState) -> Tensor:
        """Return (1, T') that was held back, as if the stream ended in silence."""
        resampler = _resampler(state.rate, self.sample_rate)
        position, body = resampler.step(state.resampler, state.block)
        return torch.cat([body, resampler.finish(position)[1]], dim=1)

    def _block_size(self, rate: int) -> int:
        return math.ceil(FRAME_SIZE * rate / SAMPLE_RATE)


@lru_cache(maxsize=16)
def _resampler(from_rate: int, to_rate: int) -> Resampler:
    return Resampler(from_rate, to_rate)

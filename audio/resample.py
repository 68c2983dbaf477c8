"""Sample-rate conversion by soxr: a whole signal at once, or chunk by chunk with a value as state.

soxr's filter is linear, of finite length, and repeats with the period of the reduced ratio: every
`from_rate / gcd` input samples it meets the same phase again. So a window of the input that starts
on such a period, and is long enough to cover the filter to the left, gives the very samples that
the whole signal would give. `step` keeps that window and nothing else, where soxr's own
`ResampleStream` keeps a mutable C object that can be neither copied, saved nor branched.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr
import torch

QUALITIES = ("LQ", "MQ", "HQ", "VHQ")
# soxr's filters end within 110 samples of the lower rate (VHQ); the probe leaves room for twice it.
_PROBE = 256
_NEGLIGIBLE = 1e-6
_MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class ResamplerState:
    """Where a stream stands; a value that may be saved, copied and continued elsewhere.

    All rows of a batch stand at the same position. Zeroing a row of `past` restarts that row: it
    goes on as if nothing but silence had come before.

    Attributes:
        past: (B, N) the inputs from `start` to `received` that coming outputs still need.
        start: input position of `past[:, 0]`, a multiple of the ratio's period.
        received: number of input samples seen.
        emitted: number of output samples given out.
    """

    past: torch.Tensor
    start: int
    received: int
    emitted: int


@lru_cache(maxsize=64)
def filter_reach(from_rate: int, to_rate: int, quality: str) -> int:
    """Measures how far soxr's filter reaches to either side, in input samples.

    An impulse is resampled and the farthest output above 1e-6 of the peak is found; a quarter is
    added as margin.

    Args:
        from_rate: input sample rate in Hz.
        to_rate: output sample rate in Hz.
        quality: one of `QUALITIES`.

    Returns:
        Input samples on each side of an output that have any effect on it.
    """
    centre = _PROBE * max(1, math.ceil(from_rate / to_rate))
    impulse = np.zeros(2 * centre + 1, dtype=np.float64)
    impulse[centre] = 1.0
    response = np.abs(soxr.resample(impulse, from_rate, to_rate, quality=quality))
    heard = np.flatnonzero(response > _NEGLIGIBLE * response.max()) * (from_rate / to_rate)
    reach = max(centre - heard[0], heard[-1] - centre)
    return math.ceil(_MARGIN * reach) + 1


class Resampler:
    """Converts sample rates; obeys the Streaming contract.

    Streamed output equals the whole signal's to 1e-5 (the rounding of soxr's float32 transforms)
    and has exactly the same length. Gradients do not pass through. Work is done on the CPU; results
    return to the device of the input.

    Args:
        from_rate: input sample rate in Hz.
        to_rate: output sample rate in Hz.
        quality: soxr's name for the filter: LQ, MQ, HQ or VHQ.

    Attributes:
        lookahead: input samples after an output's own time that it needs.
        frame_size: so many input samples, of any chunking, ...
        output_size: ... make so many output samples.

    Raises:
        ValueError: if a rate is not a positive whole number or the quality is unknown.
    """

    def __init__(self, from_rate: int, to_rate: int, quality: str = "HQ") -> None:
        for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
            if rate != int(rate) or rate <= 0:
                raise ValueError(f"{name} is {rate!r}; give a positive whole number of Hz")
        if quality not in QUALITIES:
            raise ValueError(f"quality is {quality!r}; choose one of {', '.join(QUALITIES)}")
        self.from_rate = int(from_rate)
        self.to_rate = int(to_rate)
        self.quality = quality
        divisor = math.gcd(self.from_rate, self.to_rate)
        self._up = self.to_rate // divisor
        self._down = self.from_rate // divisor
        self.frame_size, self.output_size = self._down, self._up
        identity = self._up == self._down
        self.lookahead = 0 if identity else filter_reach(self.from_rate, self.to_rate, quality)

    def __repr__(self) -> str:
        return f"Resampler({self.from_rate}, {self.to_rate}, quality={self.quality!r})"

    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        """Resamples a whole signal.

        Args:
            wav: (..., T) float32 or float64.

        Returns:
            (..., T') with T' = `output_length(T)`, of the same type and device.
        """
        *leading, length = wav.shape
        out = self._convert(wav.reshape(math.prod(leading), length))
        return out.reshape(*leading, out.shape[1])

    def output_length(self, num_samples: int) -> int:
        """Output samples for a signal of `num_samples`: the exact ratio, halves rounded up."""
        return (2 * num_samples * self._up + self._down) // (2 * self._down)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> ResamplerState:
        """The state before the first sample of `batch_size` streams."""
        return ResamplerState(torch.zeros(batch_size, 0, device=device, dtype=dtype), 0, 0, 0)

    def step(self, state: ResamplerState, x: torch.Tensor) -> tuple[ResamplerState, torch.Tensor]:
        """Takes the next samples and gives the outputs that can no longer change.

        Args:
            state: from `initial_state` or the step before; left as it is.
            x: (B, T) the next input samples, T >= 0.

        Returns:
            The next state, and (B, T') output samples.

        Raises:
            ValueError: if the shape of `x` does not fit the state.
        """
        if x.dim() != 2 or x.shape[0] != state.past.shape[0]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; the state wants ({state.past.shape[0]}, samples)"
            )
        received = state.received + x.shape[1]
        if self.lookahead == 0:
            return ResamplerState(state.past, received, received, received), x
        # An output at input time t is complete when t + lookahead < received.
        settled = -(-(received - self.lookahead) * self._up // self._down)
        window = torch.cat([state.past, x.to(state.past)], dim=1)
        y = self._outputs(state, window, max(settled, state.emitted))
        return self._trim(window, state.start, received, state.emitted + y.shape[1]), y

    def finish(self, state: ResamplerState) -> tuple[ResamplerState, torch.Tensor]:
        """Gives what was held back for the look-ahead; the signal is taken to end in silence.

        Returns:
            The last state, and (B, T') output samples.
        """
        if self.lookahead == 0:
            return state, state.past[:, :0]
        y = self._outputs(state, state.past, self.output_length(state.received))
        last = self._trim(state.past, state.start, state.received, state.emitted + y.shape[1])
        return last, y

    def _outputs(self, state: ResamplerState, window: torch.Tensor, until: int) -> torch.Tensor:
        """Outputs from `state.emitted` to `until`, from the input window that begins at `start`."""
        if until <= state.emitted:
            return window[:, :0]
        first = state.start // self._down * self._up
        return self._convert(window)[:, state.emitted - first : until - first]

    def _trim(
        self, window: torch.Tensor, start: int, received: int, emitted: int
    ) -> ResamplerState:
        """Drops what no coming output reaches, and keeps the window on the ratio's period."""
        needed = max(0, emitted * self._down // self._up - self.lookahead)
        begin = min(needed // self._down * self._down, received // self._down * self._down)
        # clone: a view would hold the whole window in memory, and share it with the next state.
        return ResamplerState(window[:, begin - start :].clone(), begin, received, emitted)

    def _convert(self, rows: torch.Tensor) -> torch.Tensor:
        """Converts (B, T) by soxr, each row the same as alone."""
        if self._up == self._down:
            return rows
        if rows.numel() == 0:
            return rows.new_zeros(rows.shape[0], self.output_length(rows.shape[1]))
        signal = rows.detach().cpu().contiguous().numpy().T
        out = soxr.resample(signal, self.from_rate, self.to_rate, quality=self.quality)
        return torch.from_numpy(np.ascontiguousarray(out.T)).to(rows.device)

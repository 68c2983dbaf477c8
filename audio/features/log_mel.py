"""Whisper's log-mel features (Radford et al. 2022, section 2.2), whole or streamed."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from echoic.audio.features.framing import Framing, FramingState, check_batch
from echoic.audio.features.mel import apply_filters, mel_filter_bank
from echoic.audio.features.stft import power_spectrum

SAMPLE_RATE = 16_000
N_FFT = 400
HOP = 160
# log10 units: everything 80 dB below the loudest band is raised to that floor.
DYNAMIC_RANGE = 8.0

Norm = Literal["global", "running", "none"]


class LogMelState(NamedTuple):
    """What a stream of log-mel frames remembers.

    Attributes:
        framing: the last samples, fewer than 400.
        loudest: (B, 1) running maximum of the log10 mel power.
    """

    framing: FramingState
    loudest: Tensor


class LogMel(nn.Module):
    """Log-mel frames of 16 kHz audio, equal to those that Whisper was trained on.

    400-sample periodic Hann windows every 160 samples, centred with reflect padding, the last frame
    dropped, power, Slaney mels, floor 1e-10, log10, clamp to 8 below the maximum, (x + 4) / 4.
    Frame j reads samples [160 j - 200, 160 j + 200), so it is complete 40 samples after the end of
    its own 10 ms. Signals too short to reflect (n <= 200) are mirrored to and fro as `numpy.pad`
    does; fewer than 160 samples give no frame.

    Args:
        num_mels: 80, or 128 for large-v3.
        norm: what "the maximum" is. "global": of the row's whole signal, as Whisper; cannot stream.
            "running": of the row's frames so far, so a frame never depends on what follows it nor
            on how the stream is cut. "none": return plain log10 mel power, without clamp and scale.
        initial_max: where the running maximum starts, in log10 units: keeps an opening silence from
            being amplified.

    Raises:
        ValueError: for an unknown norm, or no mel bands.
    """

    frame_size = HOP
    window: Tensor
    filters: Tensor

    def __init__(
        self, num_mels: int = 80, norm: Norm = "global", *, initial_max: float = 0.0
    ) -> None:
        super().__init__()
        if norm not in ("global", "running", "none"):
            raise ValueError(f'norm is {norm!r}, expected "global", "running" or "none"')
        self.num_mels = num_mels
        self.norm = norm
        self.initial_max = initial_max
        # 40 samples of padding at the end, not 200: that is how the last frame is dropped.
        self.framing = Framing(
            N_FFT, HOP, left=N_FFT // 2, right=N_FFT // 2 - HOP, first_unused=True
        )
        self.lookahead = self.framing.lookahead
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        filters = mel_filter_bank(SAMPLE_RATE, N_FFT, num_mels)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Turn whole signals (B, n) into (B, n // 160, num_mels) float32; each row on its own."""
        check_batch(wav, self.framing)
        mel = self._log_power(self.framing.frames(wav))
        if self.norm == "none" or mel.shape[1] == 0:
            return mel
        if self.norm == "global":
            return _normalize(mel, mel.amax(dim=(1, 2), keepdim=True))
        return self._running(mel, self._start_of_maximum(wav.shape[0], wav.device))[1]

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> LogMelState:
        """Return the state before the first sample.

        Raises:
            ValueError: when `norm` is "global", which needs the whole signal.
        """
        if self.norm == "global":
            raise ValueError(
                'norm is "global", the maximum of the whole signal, which a stream does not know: '
                'use LogMel(norm="running")'
            )
        held = torch.empty(batch_size, 0, device=device, dtype=dtype)
        loudest = self._start_of_maximum(batch_size, device)
        return LogMelState(self.framing.initial_state(held), loudest)

    def step(self, state: LogMelState, x: Tensor) -> tuple[LogMelState, Tensor]:
        """Take samples (B, n), n >= 0, and return the frames (B, T, num_mels) now complete."""
        check_batch(x, self.framing)
        framing, frames = self.framing.step(state.framing, x)
        loudest, mel = self._emit(state.loudest, frames)
        return LogMelState(framing, loudest), mel

    def finish(self, state: LogMelState) -> tuple[LogMelState, Tensor]:
        """Return the frame that waited for look-ahead, if any, and a fresh state."""
        framing, frames = self.framing.finish(state.framing)
        mel = self._emit(state.loudest, frames)[1]
        fresh = self._start_of_maximum(frames.shape[0], frames.device)
        return LogMelState(framing, fresh), mel

    def _emit(self, loudest: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        mel = self._log_power(frames)
        if self.norm == "none" or mel.shape[1] == 0:
            return loudest, mel
        return self._running(mel, loudest)

    def _log_power(self, frames: Tensor) -> Tensor:
        power = power_spectrum(frames.float() * self.window)
        return apply_filters(power, self.filters).clamp(min=1e-10).log10()

    def _running(self, mel: Tensor, loudest: Tensor) -> tuple[Tensor, Tensor]:
        peaks = torch.cat([loudest, mel.amax(dim=2)], dim=1).cummax(dim=1).values
        return peaks[:, -1:].clone(), _normalize(mel, peaks[:, 1:, None])

    def _start_of_maximum(self, batch: int, device: torch.device | str | None) -> Tensor:
        return torch.full((batch, 1), self.initial_max, device=device)


def _normalize(mel: Tensor, maximum: Tensor) -> Tensor:
    return (torch.maximum(mel, maximum - DYNAMIC_RANGE) + 4.0) / 4.0

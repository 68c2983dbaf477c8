"""From sound to the stacked, normalised features of Paraformer, whole or as a stream."""

from typing import Any

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.config import FrontendConfig
from echoic.audio.features import Cmvn, Fbank, FbankConfig, LogMel, LowFrameRate
from echoic.streaming.module import chain


class Frontend(nn.Module):
    """Log filter banks, stacked and normalised: sound (B, n) becomes features (B, T, F).

    T is ceil(frames / lfr_n), where frames = 1 + (n - frame_length) // hop_length of "fbank": none
    when the sound is shorter than one frame; and n // hop_length of "log_mel". Without dither: the
    same sound has the same features.

    Args:
        config: settings.
        shift: (F,), minus the means; zeros when None.
        scale: (F,), one over the standard deviations; ones when None.
    """

    def __init__(
        self,
        config: FrontendConfig | None = None,
        shift: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or FrontendConfig()
        width = config.num_features
        self.bands = _bands(config)
        self.low_frame_rate = LowFrameRate(config.lfr_m, config.lfr_n, config.num_mels)
        self.cmvn = Cmvn(
            torch.zeros(width) if shift is None else shift,
            torch.ones(width) if scale is None else scale,
        )
        # The statistics belong to the weights: the model knows no other features.
        for name in ("shift", "scale"):
            self.cmvn.register_buffer(name, getattr(self.cmvn, name).clone())
        self._chain = chain(self.bands, self.low_frame_rate, self.cmvn)
        self.frame_size = self._chain.frame_size
        self.lookahead = self._chain.lookahead

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn sounds into features, each as if it were alone.

        Args:
            wav: (B, n) in [-1, 1].
            lengths: (B,) samples that count; None for all.

        Returns:
            Features (B, T, F), 0 beyond the end of each, and the frames of each (B,) int64.
        """
        if lengths is None:
            lengths = torch.full((len(wav),), wav.shape[1])
        lengths = lengths.to(wav.device)
        config = self.config
        if config.features == "log_mel":
            frames = self.bands(_mirrored(wav, lengths, config.frame_length // 2))
            counts = lengths.div(config.hop_length, rounding_mode="floor")
        else:
            frames = self.bands(wav)
            last = (lengths - config.frame_length).div(config.hop_length, rounding_mode="floor")
            counts = (last + 1).clamp(0, frames.shape[1])
        m, n = self.config.lfr_m, self.config.lfr_n
        stacks = (counts + n - 1).div(n, rounding_mode="floor")
        longest = int(stacks.max()) if len(stacks) else 0
        # Not LowFrameRate on the batch: the last frame of each utterance stands in for the next.
        starts = torch.arange(longest, device=wav.device)[:, None] * n - (m - 1) // 2
        at = (starts + torch.arange(m, device=wav.device)).reshape(1, -1)
        at = torch.minimum(at.clamp(min=0), (counts[:, None] - 1).clamp(min=0))
        picked = frames.gather(1, at[:, :, None].expand(-1, -1, frames.shape[2]))
        features = self.cmvn(picked.reshape(len(wav), longest, self.config.num_features))
        real = torch.arange(longest, device=wav.device) < stacks[:, None]
        return features * real[:, :, None], stacks

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Any, ...]:
        """Return the state before the first sample."""
        return self._chain.initial_state(batch_size, device=device, dtype=dtype)

    def step(self, state: tuple[Any, ...], x: Tensor) -> tuple[tuple[Any, ...], Tensor]:
        """Take samples (B, n), n >= 0, and return the features that are complete."""
        return self._chain.step(state, x)

    def finish(self, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Tensor]:
        """Return the features that the end of the sound completes, and a fresh state."""
        return self._chain.finish(state)


def _bands(config: FrontendConfig) -> Fbank | LogMel:
    if config.features == "log_mel":
        # Of what was heard so far: no frame depends on what follows it.
        return LogMel(config.num_mels, norm="running")
    return Fbank(
        FbankConfig(
            sample_rate=config.sample_rate,
            num_mels=config.num_mels,
            frame_length=config.frame_length,
            hop_length=config.hop_length,
            window=config.window,
        )
    )


def _mirrored(wav: Tensor, lengths: Tensor, samples: int) -> Tensor:
    """Put the mirror image of its end, to and fro, behind each sound of (B, n)."""
    at = torch.arange(wav.shape[1] + samples, device=wav.device)
    period = (2 * (lengths - 1)).clamp(min=1)[:, None]
    there = at % period
    at = torch.where(at < lengths[:, None], at, torch.minimum(there, period - there))
    return wav.gather(1, at.clamp(0, max(wav.shape[1] - 1, 0))) if wav.shape[1] else wav

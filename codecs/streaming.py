"""Codecs on sound that has not ended: the Streaming contract around encoder and decoder."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoic.codecs.quantize.quantizer import Quantizer
from echoic.streaming.module import concatenate, output_size, run_offline


class EncoderState(NamedTuple):
    """What a streamed encoder remembers.

    Attributes:
        encoder: the network's state.
        streams: (B, 0), the batch size alone.
        spare: samples heard beyond the last whole frame.
    """

    encoder: Any
    streams: Tensor
    spare: int


class CodecEncoder:
    """Waveforms (B, T) to codes (B, n_q, F), chunk by chunk; see `Codec.streaming_encoder`.

    Args:
        encoder: streaming, samples to latents.
        quantizer: of the latents.
        n_q: codes of a frame.
        hop_length: samples of a frame.
        sample_rate: Hz.
    """

    input_time_dim = 1
    output_time_dim = 2

    def __init__(
        self, encoder: Any, quantizer: Quantizer, n_q: int, *, hop_length: int, sample_rate: int
    ) -> None:
        self.encoder = encoder
        self.quantizer = quantizer
        self.n_q = n_q
        self.frame_size = hop_length
        self.sample_rate = sample_rate
        self.lookahead: int = encoder.lookahead

    @property
    def latency_ms(self) -> float:
        """From the first sample of a frame to its codes: the frame and what lies ahead of it."""
        return 1000 * (self.frame_size + self.lookahead) / self.sample_rate

    def __call__(self, wav: Tensor) -> Tensor:
        """Code whole waveforms."""
        return run_offline(self, wav)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> EncoderState:
        """Return the state before the first sample."""
        state = self.encoder.initial_state(batch_size, device=device, dtype=dtype)
        return EncoderState(state, torch.zeros(batch_size, 0, device=device, dtype=dtype), 0)

    @torch.no_grad()
    def step(self, state: EncoderState, x: Tensor) -> tuple[EncoderState, Tensor]:
        """Take samples (B, T), T >= 0; return the codes (B, n_q, F) of the frames complete.

        Raises:
            ValueError: NaN or infinite samples.
        """
        if not bool(torch.isfinite(x).all()):
            raise ValueError("the waveform has NaN or infinite samples: repair it first")
        inner, latents = self.encoder.step(state.encoder, x)
        spare = (state.spare + x.shape[1]) % self.frame_size
        return EncoderState(inner, state.streams, spare), self._quantize(latents)

    @torch.no_grad()
    def finish(self, state: EncoderState) -> tuple[EncoderState, Tensor]:
        """Fill the last frame with zeros and return the codes that are left."""
        missing = -state.spare % self.frame_size
        inner, outputs = state.encoder, []
        if missing:
            silence = state.streams.new_zeros(state.streams.shape[0], missing)
            inner, latents = self.encoder.step(inner, silence)
            outputs.append(latents)
        inner, latents = self.encoder.finish(inner)
        codes = self._quantize(concatenate([*outputs, latents], 2))
        return EncoderState(inner, state.streams, 0), codes

    def _quantize(self, latents: Tensor) -> Tensor:
        return self.quantizer.encode(latents, self.n_q)


class WholeEndEncoder(CodecEncoder):
    """A streamed encoder that pads the end of a recording itself, layer by layer."""

    def finish(self, state: EncoderState) -> tuple[EncoderState, Tensor]:
        """Return the codes that are left, the last of what there is of a frame."""
        return super().finish(state._replace(spare=0))


class CodecDecoder:
    """Codes (B, n_q, F) to waveforms (B, T), frame by frame; see `Codec.streaming_decoder`.

    Args:
        decoder: streaming, latents to samples.
        quantizer: of the latents.
        n_q: codes of a frame.
        sample_rate: Hz.
    """

    input_time_dim = 2
    output_time_dim = 1
    frame_size = 1

    def __init__(self, decoder: Any, quantizer: Quantizer, n_q: int, *, sample_rate: int) -> None:
        self.decoder = decoder
        self.quantizer = quantizer
        self.n_q = n_q
        self.sample_rate = sample_rate
        self.output_size = output_size(decoder)
        self.lookahead: int = decoder.lookahead

    @property
    def latency_ms(self) -> float:
        """From the codes of a frame to the last sample that they alone held back."""
        frames = self.frame_size + self.lookahead
        return 1000 * frames * self.output_size / self.sample_rate

    def __call__(self, codes: Tensor) -> Tensor:
        """Decode all codes."""
        return run_offline(self, codes)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Any:
        """Return the state before the first frame."""
        dtype = dtype if dtype.is_floating_point else torch.float32
        return self.decoder.initial_state(batch_size, device=device, dtype=dtype)

    @torch.no_grad()
    def step(self, state: Any, x: Tensor) -> tuple[Any, Tensor]:
        """Take codes (B, n_q, F), F >= 0; return the samples now complete.

        Raises:
            ValueError: codes that no book has.
        """
        return self.decoder.step(state, self.quantizer.decode(x))

    @torch.no_grad()
    def finish(self, state: Any) -> tuple[Any, Tensor]:
        """Return the samples that were held back for look-ahead."""
        return self.decoder.finish(state)

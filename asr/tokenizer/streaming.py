"""Sound that has not ended to codes, block by block."""

from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.tokenizer.book import Book
from echoic.asr.tokenizer.front import Front, FrontState
from echoic.asr.whisper.model import SAMPLE_RATE, SAMPLES_PER_FRAME
from echoic.audio.features import LogMel
from echoic.audio.features.log_mel import LogMelState
from echoic.streaming.module import run_offline


class TokenizerState(NamedTuple):
    """What a stream is remembered by.

    Attributes:
        pending: (B, n) samples that do not make a block yet.
        mel: of the features.
        front: of the layers; its keys and values grow to a window (30 s at most) and begin anew.
        begun: whether a block was heard.
    """

    pending: Tensor
    mel: LogMelState
    front: FrontState
    begun: bool


class TokenizerStream:
    """Waveforms (B, T) to codes (B, 1, N); obeys the Streaming contract.

    However the sound arrives, each block is computed by itself, in the same products of the same
    shapes: the codes are the same, bit for bit, and a recording at once is no other case.

    Args:
        log_mel: features with a running maximum.
        front: the layers.
        book: the codes.
    """

    input_time_dim = 1
    output_time_dim = 2
    sample_rate = SAMPLE_RATE

    def __init__(self, log_mel: LogMel, front: Front, book: Book) -> None:
        self.log_mel = log_mel
        self.front = front
        self.book = book
        config = front.config
        self.frame_size = config.block * SAMPLES_PER_FRAME
        self.output_size = config.block // config.pooling
        # Of the windows that features are computed in.
        self.lookahead = log_mel.lookahead

    def __call__(self, wav: Tensor) -> Tensor:
        """Code whole waveforms."""
        return run_offline(self, wav)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> TokenizerState:
        """Return the state before the first sample; `dtype` has no effect."""
        del dtype
        mel = self.log_mel.initial_state(batch_size, device=device)
        front = self.front.initial_state(batch_size, device=device)
        return TokenizerState(torch.empty(batch_size, 0, device=device), mel, front, False)

    @torch.no_grad()
    def step(self, state: TokenizerState, x: Tensor) -> tuple[TokenizerState, Tensor]:
        """Hear samples (B, T), T >= 0; return the codes (B, 1, N) of the blocks now complete.

        Raises:
            ValueError: NaN or infinite samples.
        """
        if not bool(torch.isfinite(x).all()):
            raise ValueError("the waveform has NaN or infinite samples: repair it first")
        sound = torch.cat([state.pending, x.float()], dim=1)
        parts = [self._nothing(state)]
        while sound.shape[1] >= (wanted := self._wanted(state)):
            log_mel, mel = self.log_mel.step(state.mel, sound[:, :wanted])
            front, codes = self._block(state.front, mel)
            state = TokenizerState(state.pending, log_mel, front, True)
            parts.append(codes)
            sound = sound[:, wanted:]
        return state._replace(pending=sound.clone()), torch.cat(parts, dim=2)

    @torch.no_grad()
    def finish(self, state: TokenizerState) -> tuple[TokenizerState, Tensor]:
        """Fill the last code's frames with zeros, and return the codes that are left."""
        heard = self.lookahead if state.begun else 0
        missing = -(heard + state.pending.shape[1]) % self.front.config.hop_length
        sound = torch.nn.functional.pad(state.pending, (0, missing))
        log_mel, first = self.log_mel.step(state.mel, sound)
        mel = torch.cat([first, self.log_mel.finish(log_mel)[1]], dim=1)
        parts, front = [self._nothing(state)], state.front
        for block in mel.split(2 * self.front.config.block, dim=1):
            if block.shape[1]:
                front, codes = self._block(front, block)
                parts.append(codes)
        fresh = self.initial_state(len(state.pending), device=state.pending.device)
        return fresh, torch.cat(parts, dim=2)

    def _wanted(self, state: TokenizerState) -> int:
        return self.frame_size + (0 if state.begun else self.lookahead)

    def _block(self, state: FrontState, mel: Tensor) -> tuple[FrontState, Tensor]:
        state, x = self.front.block(state, mel)
        return state, self.book.encode(x)[:, None]

    @staticmethod
    def _nothing(state: TokenizerState) -> Tensor:
        return state.pending.new_empty(len(state.pending), 1, 0, dtype=torch.int64)

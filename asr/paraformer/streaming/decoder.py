"""The decoder on a stream: each token sees those before it, and the sound around it."""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from echoic.asr.paraformer.decoder import Decoder, DecoderBlock
from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.encoder import Window, newest


class DecoderState(NamedTuple):
    """What a stream through the decoder remembers.

    Attributes:
        tokens: (B, kernel_size - 1, D) of each block, what its memory was given last.
        hidden: (B, M, D) of the encoder, of chunks before.
        heard: (B, M), which of these are frames.
    """

    tokens: tuple[Tensor, ...]
    hidden: Tensor
    heard: Tensor


def blocks_of(decoder: Decoder) -> list[DecoderBlock]:
    """Return the blocks but the last one, which has no memory."""
    return cast(list[DecoderBlock], list(decoder.blocks))


def check_decoder(decoder: Decoder) -> Decoder:
    """Return the decoder, if its memory looks back only.

    Raises:
        ValueError: it does not.
    """
    ahead = blocks_of(decoder)[0].memory.right
    if ahead:
        raise ValueError(
            f"the decoder's memory looks {ahead} tokens ahead, which a stream has not heard: "
            "expected a model with decoder.shift = (kernel_size - 1) / 2"
        )
    return decoder


class ChunkedDecoder:
    """Scores the tokens of one chunk after the other.

    Args:
        decoder: with a memory that looks back only.
        chunks: the cut.

    Raises:
        ValueError: a memory that looks ahead.
    """

    def __init__(self, decoder: Decoder, chunks: Chunks) -> None:
        self.decoder = check_decoder(decoder)
        self.chunks = chunks

    def initial_state(self, batch_size: int, device: torch.device) -> DecoderState:
        """Return the state before the first token."""
        weight, blocks = self.decoder.norm.weight, blocks_of(self.decoder)
        size, dtype = (batch_size, self.chunks.memory), weight.dtype
        width = len(weight)
        tokens = [
            torch.zeros(batch_size, block.memory.left, width, device=device, dtype=dtype)
            for block in blocks
        ]
        hidden = torch.zeros(*size, width, device=device, dtype=dtype)
        return DecoderState(
            tuple(tokens), hidden, torch.zeros(*size, dtype=torch.bool, device=device)
        )

    def step(
        self, state: DecoderState, tokens: Tensor, counts: Tensor, window: Window
    ) -> tuple[DecoderState, Tensor]:
        """Score the tokens of a chunk.

        Args:
            state: behind the chunk before.
            tokens: (B, N, D).
            counts: (B,) tokens that count.
            window: of the chunk.

        Returns:
            The next state, and logits (B, N, V).
        """
        memories = state.tokens
        logits = tokens.new_zeros(*tokens.shape[:2], self.decoder.output.out_features)
        if tokens.shape[1]:
            memories, logits = self._score(state, tokens, counts, window)
        return self._after(state, memories, counts, window), logits

    def _score(
        self, state: DecoderState, x: Tensor, counts: Tensor, window: Window
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        mask = length_mask(counts, x.shape[1])
        hidden = torch.cat([state.hidden, window.hidden], dim=1)
        heard = torch.cat([state.heard, window.valid], dim=1)
        after = []
        for block, before in zip(blocks_of(self.decoder), state.tokens, strict=True):
            y = block.ready(x)
            x = block.listen(x, block.memory(y, mask, before), hidden, heard)
            after.append(_last(before, y, counts))
        return tuple(after), self.decoder.output(self.decoder.norm(self.decoder.last(x)))

    def _after(
        self, state: DecoderState, tokens: tuple[Tensor, ...], counts: Tensor, window: Window
    ) -> DecoderState:
        # FunASR remembers whole windows, and only those in which there were tokens.
        compat = self.chunks.compat
        kept = slice(None) if compat else window.own
        hidden = newest(state.hidden, window.hidden[:, kept])
        heard = newest(state.heard, window.valid[:, kept])
        if compat:
            some = counts > 0
            hidden = torch.where(some[:, None, None], hidden, state.hidden)
            heard = torch.where(some[:, None], heard, state.heard)
        return DecoderState(tokens, hidden, heard)


def _last(before: Tensor, new: Tensor, counts: Tensor) -> Tensor:
    """Return as many of the newest tokens as in `before`, of which each row has counts (B,) new."""
    both = torch.cat([before, new], dim=1)
    at = counts[:, None] + torch.arange(before.shape[1], device=before.device)
    return both.gather(1, at[:, :, None].expand(-1, -1, both.shape[2]))

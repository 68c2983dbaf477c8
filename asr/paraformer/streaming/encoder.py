"""The encoder, window by window: on a stream, or on whole signals in one pass with gradients."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.paraformer.encoder import Encoder
from echoic.asr.paraformer.sanm import Context
from echoic.asr.paraformer.streaming.chunks import Chunks, Grid, behind, cut


class Windows(NamedTuple):
    """Whole signals, encoded in windows.

    Attributes:
        hidden: (B, C, W, D), 0 in slots without a frame.
        grid: the cut.
    """

    hidden: Tensor
    grid: Grid

    @property
    def centres(self) -> Tensor:
        """(B, T, D): each frame as its own chunk hears it; behind a signal's end, anything."""
        return self.grid.centres(self.hidden)


class Window(NamedTuple):
    """One window of a stream.

    Attributes:
        hidden: (B, w, D) with w <= W, 0 in slots without a frame.
        valid: (B, w), which slots have one.
        own: slots of the chunk's own frames.
        start: (B,) int64, the first of these, counted from the stream's first frame.
    """

    hidden: Tensor
    valid: Tensor
    own: slice
    start: Tensor


class EncoderState(NamedTuple):
    """What a stream through the encoder remembers.

    Attributes:
        held: (B, n, F) prepared frames with their places, from the next window's first slot on.
        valid: (B, n), which of these are frames.
        keys: (B, P, D) of each block, of the frames behind.
        values: (B, P, D) of each block.
        seen: (B, P), which of these are frames.
        position: (B,) int64 frames so far.
    """

    held: Tensor
    valid: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    seen: Tensor
    position: Tensor


def encode_chunks(
    encoder: Encoder,
    features: Tensor,
    lengths: Tensor,
    chunks: Chunks,
    before: Tensor | None = None,
) -> Windows:
    """Encode whole signals as streams would be, in one pass.

    Args:
        encoder: its weights.
        features: (B, T, F), T >= 1.
        lengths: (B,) frames that count.
        chunks: the cut, without `compat`.
        before: (B,) int64 frames of silence that the places are counted behind; none if None.
    """
    grid = cut(lengths, features.shape[1], chunks)
    shape = grid.valid.shape[:2]
    x = grid.windows(encoder.embed(features, before)).flatten(0, 1)
    valid = grid.valid.flatten(0, 1)
    seen = torch.cat([behind(grid.valid, chunks), grid.valid], dim=2).flatten(0, 1)

    def extend(*own: Tensor) -> tuple[Tensor, Tensor]:
        past = [behind(y.unflatten(0, shape), chunks).flatten(0, 1) for y in own]
        keys, values = (torch.cat(pair, dim=1) for pair in zip(past, own, strict=True))
        return keys, values

    context = Context(extend, seen)
    for block in encoder.blocks:
        x = block(x, valid, context)
    hidden = encoder.norm(x) * valid[:, :, None]
    return Windows(hidden.unflatten(0, shape), grid)


class ChunkedEncoder:
    """An encoder that hears chunk by chunk; obeys the Streaming contract on features (B, T, F).

    It returns each frame as its own chunk hears it, (B, T, D). It holds no weights of its own.

    Args:
        encoder: best trained to hear so.
        chunks: the cut.
    """

    def __init__(self, encoder: Encoder, chunks: Chunks) -> None:
        self.encoder = encoder
        self.chunks = chunks
        self.frame_size = self.output_size = chunks.stride
        self.lookahead = 0 if chunks.compat else chunks.look_ahead

    def __call__(self, features: Tensor) -> Tensor:
        """Encode whole signals in one pass; see `encode_chunks`."""
        lengths = torch.full((len(features),), features.shape[1], device=features.device)
        return encode_chunks(self.encoder, features, lengths, self.chunks).centres

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> EncoderState:
        """Return the state before the first frame, in the weights' type."""
        del dtype
        chunks, blocks = self.chunks, self.encoder.blocks
        weight = self.encoder.norm.weight
        device = weight.device if device is None else device
        width = self.encoder.width
        # FunASR's silence before the beginning counts as sound.
        slots = chunks.look_back + (chunks.look_ahead if chunks.compat else 0)
        held = torch.zeros(batch_size, slots, width, device=device, dtype=weight.dtype)
        valid = torch.full((batch_size, slots), chunks.compat, device=device)
        past = torch.zeros(batch_size, chunks.past, len(weight), device=device, dtype=weight.dtype)
        seen = torch.zeros(batch_size, chunks.past, dtype=torch.bool, device=device)
        position = torch.zeros(batch_size, dtype=torch.int64, device=device)
        pasts = tuple(past.clone() for _ in blocks)
        return EncoderState(held, valid, pasts, tuple(p.clone() for p in pasts), seen, position)

    def step(self, state: EncoderState, features: Tensor) -> tuple[EncoderState, Tensor]:
        """Hear frames (B, T, F), T >= 0; return those (B, n, D) of the chunks that are complete."""
        outputs = [self._nothing(state)]
        state = self.hear(state, features)
        for after, window in self.complete(state):
            state = after
            outputs.append(window.hidden[:, window.own])
        return state, torch.cat(outputs, dim=1)

    def finish(self, state: EncoderState) -> tuple[EncoderState, Tensor]:
        """End the streams; return the frames of the last chunk, which may be a short one."""
        window = self.rest(state)
        y = self._nothing(state) if window is None else window.hidden[:, window.own]
        return self.initial_state(len(y), device=y.device), y

    def hear(self, state: EncoderState, features: Tensor) -> EncoderState:
        """Take frames (B, T, F), T >= 0; `complete` has the windows that they fill."""
        x = self.encoder.embed(features.to(state.held.dtype), state.position)
        held = torch.cat([state.held, x], dim=1)
        valid = torch.cat([state.valid, state.valid.new_ones(x.shape[:2])], dim=1)
        position = state.position + x.shape[1]
        return state._replace(held=held, valid=valid, position=position)

    def complete(self, state: EncoderState) -> Iterator[tuple[EncoderState, Window]]:
        """Encode the windows that are full, each with the state behind it."""
        chunks = self.chunks
        while state.held.shape[1] >= chunks.window:
            window, keys, values = self._encode(state, chunks.window, chunks.centre)
            # With `compat`, what was looked back at is remembered again.
            kept = slice(0 if chunks.compat else chunks.look_back, chunks.centre.stop)
            state = EncoderState(
                state.held[:, chunks.stride :].clone(),
                state.valid[:, chunks.stride :].clone(),
                tuple(newest(o, n[:, kept]) for o, n in zip(state.keys, keys, strict=True)),
                tuple(newest(o, n[:, kept]) for o, n in zip(state.values, values, strict=True)),
                newest(state.seen, window.valid[:, kept]),
                state.position,
            )
            yield state, window

    def rest(self, state: EncoderState) -> Window | None:
        """Encode what has not been the centre of a window; None where nothing was heard."""
        slots = state.held.shape[1]
        if slots == self.chunks.look_back or not bool(state.position.any()):
            return None
        return self._encode(state, slots, slice(self.chunks.look_back, slots))[0]

    def _nothing(self, state: EncoderState) -> Tensor:
        return state.held.new_empty(len(state.held), 0, len(self.encoder.norm.weight))

    def _encode(
        self, state: EncoderState, slots: int, own: slice
    ) -> tuple[Window, list[Tensor], list[Tensor]]:
        """Encode the first slots that are held; also return each block's keys and values."""
        x, valid = state.held[:, :slots], state.valid[:, :slots]
        keys: list[Tensor] = []
        values: list[Tensor] = []

        def extend(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            past = state.keys[len(keys)], state.values[len(keys)]
            keys.append(key)
            values.append(value)
            return torch.cat([past[0], key], dim=1), torch.cat([past[1], value], dim=1)

        context = Context(extend, torch.cat([state.seen, valid], dim=1))
        for block in self.encoder.blocks:
            x = block(x, valid, context)
        hidden = self.encoder.norm(x) * valid[:, :, None]
        start = state.position - (state.held.shape[1] - own.start)
        return Window(hidden, valid, own, start), keys, values


def newest(old: Tensor, new: Tensor) -> Tensor:
    """Return the last frames of old (B, P, ...) and new (B, n, ...): as many as old, in a copy."""
    extra = new.shape[1] - old.shape[1]
    if extra >= 0:
        return new[:, extra:].clone()
    return torch.cat([old[:, new.shape[1] :], new], dim=1)

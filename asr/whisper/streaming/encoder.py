"""Whisper's encoder made block-causal, on whole signals and on streams.

A frame sees its own block and what came before it, never the next block (Krichli et al. 2025,
section 3.1); keys and values of the past are kept, so a block costs the same at any time but for
the reading of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.encoder import Encoder
from echoic.asr.whisper.layer_adapters import LayerAdapters
from echoic.asr.whisper.streaming import stem
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.lora_rows import LoraRows, adapt, feed_forward
from echoic.asr.whisper.streaming.rows import joined, joined_heads, parted, parted_heads
from echoic.asr.whisper.streaming.stem import StemState
from echoic.streaming.layers.key_values import KeyValues, no_key_values
from echoic.streaming.layers.masks import block_causal_mask


class EncoderState(NamedTuple):
    """What a stream through the encoder remembers.

    Attributes:
        stem: the last mel frames.
        past: keys and values of each layer, (B, H, S, D) with S frames of 20 ms.
        frames: encoder frames so far, since the window's start.
        which: int64 (B,), number of each stream's language adapter; 0 for none.
    """

    stem: StemState
    past: tuple[KeyValues, ...]
    frames: int
    which: Tensor


class Prepared(NamedTuple):
    """Blocks of a stream that are complete, before the layers.

    Attributes:
        state: the stream's, its `stem` already behind the blocks.
        x: (B, T, C), from the convolutions, with positions.
        visible: bool (T, S + T), which of the past and the new frames each one sees; None for all.
        limit: frames of the past to keep; None for all.
    """

    state: EncoderState
    x: Tensor
    visible: Tensor | None
    limit: int | None


class CausalEncoder:
    """A Whisper encoder that hears block by block; obeys the Streaming contract on mel frames.

    It holds no weights of its own. The state grows with the window, to the encoder's 30 s of
    positions or to `blocks.left_context`, whichever is less; a longer stream is cut into windows
    by the caller (see `echoic.asr.whisper.streaming.causal`).

    Args:
        encoder: trained to hear so, or an untouched one for experiments.
        blocks: the cut.
    """

    def __init__(self, encoder: Encoder, blocks: Blocks) -> None:
        self.encoder = encoder
        self.blocks = blocks
        self.frame_size = 2 * blocks.size
        self.output_size = blocks.size
        # How much later than in a cut without a special first block a frame can come.
        late = max(blocks.first_size - blocks.size, blocks.first_size % blocks.size)
        self.lookahead = 2 * late + stem.LOOKAHEAD

    def __call__(self, mel: Tensor, which: Tensor | None = None) -> Tensor:
        """Encode whole windows in one pass: (B, F, num_mel_bins) -> (B, ceil(F / 2), C)."""
        return encode_blocks(self.encoder, mel, self.blocks, which)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        which: Tensor | None = None,
    ) -> EncoderState:
        """Return the state before the first mel frame; keys and values are in the weights' type.

        Args:
            batch_size: streams.
            device: where the state lives.
            dtype: has no effect.
            which: int64 (B,), number of each stream's language adapter; None for no adapters.
        """
        del dtype
        encoder = self.encoder
        heads = encoder.blocks()[0].self_attn.num_heads
        width = encoder.layer_norm.weight.shape[0] // heads
        past = tuple(
            no_key_values(batch_size, heads, width, device=device, dtype=encoder.dtype)
            for _ in encoder.blocks()
        )
        mels = encoder.conv1.weight.shape[1]
        if which is None:
            which = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return EncoderState(stem.start_stem(batch_size, mels, device), past, 0, which)

    def step(self, state: EncoderState, mel: Tensor) -> tuple[EncoderState, Tensor]:
        """Hear mel frames (B, F, num_mel_bins); return the frames (B, T, C) of complete blocks.

        Raises:
            ValueError: the window is longer than the encoder has positions for.
        """
        state, ready = self.prepare(state, mel)
        if ready is None:
            return state, self._nothing(state)
        return run_layers(self.encoder, [ready])[0]

    def prepare(self, state: EncoderState, mel: Tensor) -> tuple[EncoderState, Prepared | None]:
        """Take mel frames as far as the layers, which `run_layers` runs for many streams.

        Returns:
            The state to keep where there is no complete block; and what is ready where there is.

        Raises:
            ValueError: the window is longer than the encoder has positions for.
        """
        state = state._replace(stem=stem.hear(state.stem, mel))
        first = self._first_size(state)
        frames = stem.ready(state.stem)
        if frames < first:
            return state, None
        return state, self._prepare(state, frames - (frames - first) % self.blocks.size)

    def finish(self, state: EncoderState) -> tuple[EncoderState, Tensor]:
        """End the stream; return the frames of the blocks that were not full."""
        frames = stem.remaining(state.stem)
        y = self._nothing(state)
        if frames:
            y = run_layers(self.encoder, [self._prepare(state, frames, last=True)])[0][1]
        return self.initial_state(y.shape[0], device=y.device, which=state.which), y

    def _first_size(self, state: EncoderState) -> int:
        return self.blocks.size if state.frames else self.blocks.first_size

    def _nothing(self, state: EncoderState) -> Tensor:
        keys = state.past[0].keys
        return keys.new_empty(keys.shape[0], 0, keys.shape[1] * keys.shape[3])

    def _prepare(self, state: EncoderState, frames: int, *, last: bool = False) -> Prepared:
        positions = _positions(self.encoder, state.frames, frames)
        stem_state, x = stem.convolve(state.stem, self.encoder, frames, last=last)
        visible = self._visible(state, frames, x.device)
        state = state._replace(stem=stem_state)
        return Prepared(state, x + positions, visible, self.blocks.left_context)

    def _visible(self, state: EncoderState, frames: int, device: torch.device) -> Tensor | None:
        """Return which of the past and the new frames each new one sees; None for all."""
        first, limit = self._first_size(state), self.blocks.left_context
        if frames <= first:
            return None
        size, behind = self.blocks.size, state.past[0].length
        new = block_causal_mask(frames, size, first=first, left_context=limit, device=device)
        starts = torch.arange(frames, device=device) - first
        starts = torch.where(starts < 0, 0, first + starts // size * size)  # of each one's block
        old = torch.arange(-behind, 0, device=device)
        oldest = torch.full_like(starts, -behind) if limit is None else starts - limit
        return torch.cat([old[None, :] >= oldest[:, None], new], dim=1)


def run_layers(
    encoder: Encoder, ready: Sequence[Prepared], lora: LoraRows | None = None
) -> list[tuple[EncoderState, Tensor]]:
    """Run the next blocks of streams through the layers, all in one pass.

    Args:
        encoder: of all of them.
        ready: of each stream.
        lora: what LoRA adapters add to their rows.

    Returns:
        Each stream's state behind its blocks, and their frames (B, T, C).
    """
    like = [part.x for part in ready]
    x = joined(like)
    pasts: list[list[KeyValues]] = [[] for _ in ready]
    for index, layer in enumerate(encoder.blocks()):
        attention = layer.self_attn
        h = layer.self_attn_layer_norm(x)
        projected = adapt(lora, index, "self_attn.qkv", h, *attention.projected(h))
        by_stream = (parted_heads(rows, like, attention.num_heads) for rows in projected)
        heads = []
        for part, kept, q, k, v in zip(ready, pasts, *by_stream, strict=True):
            after = part.state.past[index].append(k, v)
            heads.append(
                functional.scaled_dot_product_attention(
                    q, after.keys, after.values, attn_mask=part.visible
                )
            )
            kept.append(after if part.limit is None else after.last(part.limit))
        h = joined_heads(heads)
        (y,) = adapt(lora, index, "self_attn.out_proj", h, attention.out_proj(h))
        x = feed_forward(layer, x + y, lora, index)
        if layer.adapters is not None:
            x = _by_language(layer.adapters, x, ready)
    frames = parted(encoder.layer_norm(x), like)
    return [
        (part.state._replace(past=tuple(past), frames=part.state.frames + y.shape[1]), y)
        for part, past, y in zip(ready, pasts, frames, strict=True)
    ]


def _by_language(adapters: LayerAdapters, x: Tensor, ready: Sequence[Prepared]) -> Tensor:
    """Adapt each row to the language of its stream."""
    lengths = {part.x.shape[1] for part in ready}
    which = torch.cat([part.state.which for part in ready])
    if len(lengths) == 1:
        return adapters(x.unflatten(0, (len(which), -1)), which).flatten(0, 1)
    repeats = torch.tensor([part.x.shape[1] for part in ready for _ in part.state.which])
    return adapters(x[:, None], which.repeat_interleave(repeats.to(which.device)))[:, 0]


def encode_blocks(
    encoder: Encoder, mel: Tensor, blocks: Blocks, which: Tensor | None = None
) -> Tensor:
    """Encode whole windows as a stream would, in one pass; gradients flow.

    Args:
        encoder: with or without adapters.
        mel: (B, F, num_mel_bins), at most twice the encoder's positions.
        blocks: the cut.
        which: int64 (B,), number of each row's language adapter; None for no adapters.

    Returns:
        (B, ceil(F / 2), C), frames of 20 ms.
    """
    x = encoder.convolve(mel)
    x = x + _positions(encoder, 0, x.shape[1])
    visible = block_causal_mask(
        x.shape[1],
        blocks.size,
        first=blocks.first,
        left_context=blocks.left_context,
        device=x.device,
    )
    for layer in encoder.blocks():
        q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
        heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        x = layer.finish(x + layer.self_attn.output(heads), which)
    return encoder.layer_norm(x)


def _positions(encoder: Encoder, start: int, frames: int) -> Tensor:
    if start + frames > encoder.num_positions:
        raise ValueError(
            f"the window has {start + frames} frames of 20 ms, the encoder {encoder.num_positions} "
            "positions: begin a new window before"
        )
    return encoder.embed_positions.weight[start : start + frames]

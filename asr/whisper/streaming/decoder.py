"""Whisper's decoder as a function: tokens and the past in, hidden states and a new past out.

Nothing is written in place, so a state can be kept, branched and saved. Shapes: R rows
(hypotheses of one stream), N new tokens, H heads, D channels of a head, T frames of sound.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.attention import attend_few
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.streaming.lora_rows import LoraRows, adapt, feed_forward
from echoic.asr.whisper.streaming.rows import joined, joined_heads, parted, parted_heads
from echoic.streaming.layers.key_values import KeyValues, no_key_values

Past = tuple[KeyValues, ...]


class Reading(NamedTuple):
    """What a pass returns.

    Attributes:
        hidden: (R, N, C).
        past: keys and values of each layer, the new tokens' included, (R, H, S + N, D).
        attention: (R, heads, N, T), where the alignment heads looked, in their order.
    """

    hidden: Tensor
    past: Past
    attention: Tensor


def no_past(decoder: Decoder, device: torch.device | str | None = None) -> Past:
    """Return the past of a decoder, or of the sound that it hears, before anything came."""
    heads = decoder.blocks()[0].self_attn.num_heads
    norm = decoder.layer_norm.weight
    return tuple(
        no_key_values(1, heads, norm.shape[0] // heads, device=device, dtype=norm.dtype)
        for _ in decoder.blocks()
    )


class Part(NamedTuple):
    """What one stream gives to a pass.

    Attributes:
        tokens: int64 (R, N), at the places behind the past.
        past: of each layer, R rows or one for all.
        sound: of each layer, one row.
    """

    tokens: Tensor
    past: Past
    sound: Past


def hear(
    decoder: Decoder,
    sounds: Sequence[Past],
    encoded: Sequence[Tensor],
    lora: LoraRows | None = None,
) -> list[Past]:
    """Return keys and values of each stream's sound with those of new frames behind them.

    Args:
        decoder: the network.
        sounds: of each stream.
        encoded: (1, T, C) of each stream.
        lora: what LoRA adapters add to the rows of the frames.
    """
    rows = joined(encoded)
    found: list[list[KeyValues]] = [[] for _ in sounds]
    for index, layer in enumerate(decoder.blocks()):
        attention = layer.encoder_attn
        projected = attention.projected_sound(rows)
        projected = adapt(lora, index, "encoder_attn.kv", rows, *projected)
        dtype = sounds[0][index].keys.dtype
        keys_values = (parted_heads(r.to(dtype), encoded, attention.num_heads) for r in projected)
        for sound, after, keys, values in zip(sounds, found, *keys_values, strict=True):
            after.append(sound[index].append(keys, values))
    return [tuple(layers) for layers in found]


def read(
    decoder: Decoder,
    parts: Sequence[Part],
    heads: tuple[tuple[int, int], ...],
    lora: LoraRows | None = None,
) -> list[Reading]:
    """Run new tokens of streams through the decoder, all in one pass.

    Args:
        decoder: the network.
        parts: of each stream.
        heads: (layer, head) pairs whose attention to the sound to return.
        lora: what LoRA adapters add to the rows of the tokens.

    Raises:
        ValueError: more tokens than the model has positions for.
    """
    embedded = [_embedded(decoder, part) for part in parts]
    causal = [_causal(part) for part in parts]
    x = joined(embedded)
    after: list[list[KeyValues]] = [[] for _ in parts]
    looks: list[list[Tensor]] = [[] for _ in parts]
    for index, layer in enumerate(decoder.blocks()):
        own, sound = layer.self_attn, layer.encoder_attn
        h = layer.self_attn_layer_norm(x)
        projected = adapt(lora, index, "self_attn.qkv", h, *own.projected(h))
        by_stream = (parted_heads(rows, embedded, own.num_heads) for rows in projected)
        seen = []
        for part, mask, kept, q, k, v in zip(parts, causal, after, *by_stream, strict=True):
            past = _for_rows(part.past[index], len(part.tokens)).append(k, v)
            kept.append(past)
            seen.append(attend_few(q, past.keys, past.values, mask))
        h = joined_heads(seen)
        (y,) = adapt(lora, index, "self_attn.out_proj", h, own.out_proj(h))
        x = x + y
        h = layer.encoder_attn_layer_norm(x)
        (queries,) = adapt(lora, index, "encoder_attn.q_proj", h, sound.q_proj(h))
        heard = []
        asking = parted_heads(queries, embedded, sound.num_heads)
        for part, query, look in zip(parts, asking, looks, strict=True):
            y, weights = _listen(query, part.sound[index])
            heard.append(y)
            look.append(weights)
        h = joined_heads(heard)
        (y,) = adapt(lora, index, "encoder_attn.out_proj", h, sound.out_proj(h))
        x = feed_forward(layer, x + y, lora, index)
    hidden = parted(decoder.layer_norm(x), embedded)
    return [
        Reading(y, tuple(past), torch.stack([look[i][:, head] for i, head in heads], dim=1))
        for y, past, look in zip(hidden, after, looks, strict=True)
    ]


def _embedded(decoder: Decoder, part: Part) -> Tensor:
    start, new = part.past[0].length, part.tokens.shape[1]
    room = decoder.embed_positions.num_embeddings
    if start + new > room:
        raise ValueError(f"{start} tokens and {new} more: the decoder has {room} positions")
    x = functional.embedding(part.tokens, decoder.embed_tokens.weight)
    return x + decoder.embed_positions.weight[start : start + new]


def _for_rows(past: KeyValues, rows: int) -> KeyValues:
    if past.keys.shape[0] == rows:
        return past
    return KeyValues(*(t.expand(rows, -1, -1, -1) for t in past))


def _listen(queries: Tensor, sound: KeyValues) -> tuple[Tensor, Tensor]:
    """Cross-attention of (R, H, N, D) to one sound: output (R, H, N, D), weights (R, H, N, T)."""
    rows, _, new, width = queries.shape
    # The hypotheses of a stream are queries of one product: (H, R * N, D).
    flat = queries[0] if rows == 1 else queries.transpose(0, 1).flatten(1, 2)
    flat = (flat * width**-0.5).to(sound.keys.dtype)
    weights = torch.matmul(flat, sound.keys[0].transpose(1, 2)).float().softmax(-1)
    heads = torch.matmul(weights.to(sound.values.dtype), sound.values[0]).to(queries.dtype)
    if rows == 1:
        return heads[None], weights[None]
    heads, weights = (t.unflatten(1, (rows, new)).transpose(0, 1) for t in (heads, weights))
    return heads, weights


def _causal(part: Part) -> Tensor | None:
    start, new = part.past[0].length, part.tokens.shape[1]
    if new == 1:
        return None
    device = part.tokens.device
    later = torch.ones(new, start + new, dtype=torch.bool, device=device).triu_(start + 1)
    return torch.zeros(later.shape, device=device).masked_fill_(later, -torch.inf)

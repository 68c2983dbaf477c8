"""Whisper's decoder as a function: tokens and the past in, hidden states and a new past out.

Nothing is written in place, so a state can be kept, branched and saved. Shapes: R rows
(hypotheses of one stream), N new tokens, H heads, D channels of a head, T frames of sound.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.attention import Attention, attend_few
from echoic.asr.whisper.decoder import Decoder
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


def hear(decoder: Decoder, sound: Past, encoded: Tensor) -> Past:
    """Return keys and values of the sound with those of new frames (1, T, C) behind them."""
    found = []
    for layer, before in zip(decoder.blocks(), sound, strict=True):
        keys, values = layer.encoder_attn.keys_values(encoded)
        found.append(before.append(keys.to(before.keys.dtype), values.to(before.keys.dtype)))
    return tuple(found)


def read(
    decoder: Decoder,
    tokens: Tensor,
    past: Past,
    sound: Past,
    heads: tuple[tuple[int, int], ...],
) -> Reading:
    """Run new tokens through the decoder.

    Args:
        decoder: the network.
        tokens: int64 (R, N), at the places behind the past.
        past: of each layer, R rows or one for all.
        sound: of each layer, one row.
        heads: (layer, head) pairs whose attention to the sound to return.

    Raises:
        ValueError: more tokens than the model has positions for.
    """
    start, new = past[0].length, tokens.shape[1]
    room = decoder.embed_positions.num_embeddings
    if start + new > room:
        raise ValueError(f"{start} tokens and {new} more: the decoder has {room} positions")
    x = functional.embedding(tokens, decoder.embed_tokens.weight)
    x = x + decoder.embed_positions.weight[start : start + new]
    causal = _causal(start, new, x.device) if new > 1 else None
    after, looks = [], []
    for layer, before, heard in zip(decoder.blocks(), past, sound, strict=True):
        q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
        if before.keys.shape[0] != len(tokens):
            before = KeyValues(*(t.expand(len(tokens), -1, -1, -1) for t in before))
        now = before.append(k, v)
        x = x + layer.self_attn.output(attend_few(q, now.keys, now.values, causal))
        y, seen = _listen(layer.encoder_attn, layer.encoder_attn_layer_norm(x), heard)
        x = x + y
        x = x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))
        after.append(now)
        looks.append(seen)
    weights = [looks[layer][:, head] for layer, head in heads]
    return Reading(decoder.layer_norm(x), tuple(after), torch.stack(weights, dim=1))


def _listen(attention: Attention, x: Tensor, sound: KeyValues) -> tuple[Tensor, Tensor]:
    """Cross-attention of R rows to one sound: output (R, N, C), weights (R, H, N, T)."""
    rows, new, _ = x.shape
    queries = attention.queries(x)  # (R, H, N, D)
    queries = queries.transpose(0, 1).flatten(1, 2)  # (H, R * N, D)
    queries = (queries * queries.shape[-1] ** -0.5).to(sound.keys.dtype)
    weights = torch.matmul(queries, sound.keys[0].transpose(1, 2)).float().softmax(-1)
    heads = torch.matmul(weights.to(sound.values.dtype), sound.values[0]).to(x.dtype)
    heads = heads.unflatten(1, (rows, new)).transpose(0, 1)
    return attention.output(heads), weights.unflatten(1, (rows, new)).transpose(0, 1)


def _causal(start: int, new: int, device: torch.device) -> Tensor:
    later = torch.ones(new, start + new, dtype=torch.bool, device=device).triu_(start + 1)
    return torch.zeros(later.shape, device=device).masked_fill_(later, -torch.inf)

"""The decoder over all moments of a batch in one pass; gradients flow."""

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.decoder import Decoder, DecoderLayer
from echoic.asr.whisper.training.plan import PlanBatch


def decode(decoder: Decoder, plan: PlanBatch, encoded: Tensor) -> Tensor:
    """Run all moments of all windows.

    Args:
        decoder: with or without adapters.
        plan: B windows, L places.
        encoded: (B, T, C).

    Returns:
        (B, L, C), hidden states.
    """
    x = functional.embedding(plan.tokens, decoder.embed_tokens.weight)
    x = x + decoder.embed_positions.weight[plan.positions]
    frames = torch.arange(encoded.shape[1], device=encoded.device)
    heard = (frames < plan.limits[:, :, None])[:, None]  # (B, 1, L, T)
    visible = plan.visible[:, None]
    for layer in decoder.blocks():
        x = _decoder_layer(layer, x, visible, encoded, heard)
    return decoder.layer_norm(x)


def _decoder_layer(
    layer: DecoderLayer, x: Tensor, visible: Tensor, encoded: Tensor, heard: Tensor
) -> Tensor:
    q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
    heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    x = x + layer.self_attn.output(heads)
    q = layer.encoder_attn.queries(layer.encoder_attn_layer_norm(x))
    k, v = layer.encoder_attn.keys_values(encoded)
    heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=heard)
    x = x + layer.encoder_attn.output(heads)
    return x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))

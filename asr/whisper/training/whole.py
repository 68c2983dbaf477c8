"""Whole utterances for an offline Whisper: what a step takes, and the decoder over it in one pass.

Sound is encoded as it is when Whisper transcribes, silence behind it and thinned out. Unlike
`Decoder`, which fills its cache in place, this lets gradients through.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.decoder import Decoder, DecoderLayer
from echoic.asr.whisper.encoder import EncodedWindows


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """What a training step takes.

    Attributes:
        mel: (B, F, num_mel_bins), each utterance followed by silence.
        lengths: int64 (B,), frames of 20 ms of each, its first silence included.
        tokens: int64 (B, L), prompt and text, as the decoder is fed; padded.
        targets: int64 (B, L), what comes next; `IGNORED` where nothing is asked.
    """

    mel: Tensor
    lengths: Tensor
    tokens: Tensor
    targets: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "WholeBatch":
        """Move to a device."""
        names = ("mel", "lengths", "tokens", "targets")
        moved = {n: getattr(self, n).to(device, non_blocking=non_blocking) for n in names}
        return replace(self, **moved)


def decode_whole(decoder: Decoder, tokens: Tensor, encoded: EncodedWindows) -> Tensor:
    """Run the decoder over texts that are known.

    Args:
        decoder: of an untouched model.
        tokens: int64 (B, L).
        encoded: the sound.

    Returns:
        (B, L, C), hidden states.
    """
    x = functional.embedding(tokens, decoder.embed_tokens.weight)
    x = x + decoder.embed_positions.weight[: tokens.shape[1]]
    heard = encoded.log_counts[:, None, None]  # (B, 1, 1, T)
    for layer in decoder.blocks():
        x = _layer(layer, x, encoded.states, heard)
    return decoder.layer_norm(x)


def _layer(layer: DecoderLayer, x: Tensor, states: Tensor, heard: Tensor) -> Tensor:
    q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
    heads = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + layer.self_attn.output(heads)
    q = layer.encoder_attn.queries(layer.encoder_attn_layer_norm(x))
    k, v = layer.encoder_attn.keys_values(states)
    heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=heard.to(q.dtype))
    x = x + layer.encoder_attn.output(heads)
    return x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))

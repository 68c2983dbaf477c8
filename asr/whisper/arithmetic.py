"""Which arithmetic a model computes in, and how to choose the fastest that is right.

The encoder works on hundreds of frames at once and is bound by multiplications; the decoder works
on a token at a time and is bound by the reading of weights. So the two are chosen apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from echoic.asr.arithmetic import (
    BYTE_KINDS,
    KINDS,
    Kind,
    byte_linear,
    check,
    dtype_of,
    fastest,
    joined,
    plain,
)
from echoic.asr.whisper.attention import Attention
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.encoder import Encoder, EncoderLayer
from echoic.asr.whisper.layer_adapters import LayerAdapters


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The arithmetic of the two stacks."""

    encoder: Kind
    decoder: Kind

    def __str__(self) -> str:
        return self.encoder if self.encoder == self.decoder else f"{self.encoder}/{self.decoder}"


def apply(encoder: Encoder, decoder: Decoder, arithmetic: Arithmetic) -> None:
    """Turn both stacks to inference in the given arithmetic, in place and for good.

    Raises:
        ValueError: an unknown kind, or one that this device cannot compute.
    """
    device = encoder.layer_norm.weight.device
    for kind in (arithmetic.encoder, arithmetic.decoder):
        check(kind, device)
    for layer in encoder.blocks():
        _apply_to_encoder_layer(layer, arithmetic.encoder)
    for layer in decoder.blocks():
        _fuse_self_attention(layer.self_attn, arithmetic.decoder)
        _convert(layer, ("fc1", "fc2"), arithmetic.decoder)
        sound = layer.encoder_attn
        # Keys and values of the sound are computed by the hundred, once a window: encoder's work.
        sound.fused_kv = joined([sound.k_proj, sound.v_proj], arithmetic.encoder)
        del sound.k_proj, sound.v_proj
        _convert(sound, ("q_proj", "out_proj"), arithmetic.decoder)
    if arithmetic.decoder in BYTE_KINDS:
        weight = decoder.embed_tokens.weight
        decoder.projection = byte_linear(weight, None, arithmetic.decoder)
    _cast_the_rest(encoder, arithmetic.encoder)
    _cast_the_rest(decoder, arithmetic.decoder)
    encoder.requires_grad_(False).eval()
    decoder.requires_grad_(False).eval()


def named(kind: str) -> Arithmetic:
    """Return the arithmetic that a user means by one word: it is that of both stacks."""
    if kind not in KINDS:
        raise ValueError(f"unknown arithmetic {kind!r}: one of auto, {', '.join(KINDS)}")
    return Arithmetic(encoder=cast(Kind, kind), decoder=cast(Kind, kind))


def choose(device: torch.device, config: WhisperConfig) -> Arithmetic:
    """Measure for some milliseconds what this machine is fastest in.

    Args:
        device: where the model will run.
        config: of the model; the trials have its shapes.
    """
    if device.type != "cpu":
        return Arithmetic("float16", "float16")
    return Arithmetic(
        encoder=fastest(lambda kind: _encoder_trial(kind, config)),
        decoder=fastest(lambda kind: _decoder_trial(kind, config)),
    )


def _encoder_trial(kind: Kind, config: WhisperConfig) -> Callable[[], object]:
    """One layer over some seconds of sound, enough for attention to weigh what it does."""
    layer = EncoderLayer(config.d_model, config.encoder_attention_heads, config.encoder_ffn_dim)
    _apply_to_encoder_layer(layer, kind)
    _cast_the_rest(layer, kind)
    x = torch.randn(1, 640, config.d_model, dtype=dtype_of(kind))
    return lambda: layer(x, None)


def _decoder_trial(kind: Kind, config: WhisperConfig) -> Callable[[], object]:
    """A slice of the output projection, for a step of eight hypotheses."""
    weight = torch.randn(16 * config.d_model, config.d_model)
    layer = byte_linear(weight, None, kind) if kind in BYTE_KINDS else plain(weight, None, kind)
    x = torch.randn(8, config.d_model, dtype=dtype_of(kind))
    return lambda: layer(x)


def _apply_to_encoder_layer(layer: EncoderLayer, kind: Kind) -> None:
    _fuse_self_attention(layer.self_attn, kind)
    _convert(layer, ("fc1", "fc2"), kind)


def _fuse_self_attention(attention: Attention, kind: Kind) -> None:
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    attention.fused_qkv = joined(parts, kind)
    del attention.q_proj, attention.k_proj, attention.v_proj
    _convert(attention, ("out_proj",), kind)


def _convert(module: nn.Module, names: Sequence[str], kind: Kind) -> None:
    for name in names:
        setattr(module, name, joined([module.get_submodule(name)], kind))


def _cast_the_rest(stack: nn.Module, kind: Kind) -> None:
    for module in stack.modules():
        if isinstance(module, nn.LayerNorm | nn.Embedding | nn.Conv1d | LayerAdapters):
            module.to(dtype_of(kind))

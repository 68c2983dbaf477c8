"""Sizes of Paraformers by name."""

import dataclasses

from echoic.asr.paraformer.config import (
    DecoderConfig,
    EncoderConfig,
    ObjectiveConfig,
    ParaformerConfig,
)

PRESETS = ("tiny", "small", "large")


def preset(name: str, vocab_size: int, *, streaming: bool = False) -> ParaformerConfig:
    """Return the config of a size.

    Args:
        name: "tiny" (6.7 M parameters with 544 tokens), "small" (68 M with 8358) or "large"
            (220 M with 8404).
        vocab_size: tokens.
        streaming: with a decoder that looks back only, which streams need.

    Raises:
        ValueError: no such size.
    """
    config = _preset(name, vocab_size)
    if not streaming:
        return config
    shift = config.decoder.kernel_size // 2
    return dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, shift=shift))


def _preset(name: str, vocab_size: int) -> ParaformerConfig:
    if name == "tiny":
        return ParaformerConfig(
            vocab_size,
            encoder=EncoderConfig(dim=192, layers=10, ffn_dim=768),
            decoder=DecoderConfig(layers=3, cross_layers=3, ffn_dim=768),
            objective=ObjectiveConfig(ctc=0.3),
        )
    if name == "small":
        return ParaformerConfig(
            vocab_size,
            encoder=EncoderConfig(dim=320, layers=40, ffn_dim=1280),
            decoder=DecoderConfig(layers=12, cross_layers=6, ffn_dim=1280),
            end_token=False,
        )
    if name == "large":
        return ParaformerConfig(vocab_size)
    raise ValueError(f"no size {name!r}; expected one of {', '.join(PRESETS)}")

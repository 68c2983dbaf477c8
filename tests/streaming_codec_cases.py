"""Codecs for the laws of the Streaming contract: one line each."""

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from streaming_hifigan_cases import HIFIGAN_CASES
from streaming_laws import Case, noise
from streaming_layer_cases import channels
from streaming_upstream_cases import UPSTREAM_CASES
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.echocodec.model import EchoCodec
from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.languagecodec.model import LanguageCodec
from echoic.codecs.quantize.config import QuantizerConfig

QUANTIZERS: dict[str, dict[str, Any]] = {
    "residual": {"num_layers": 3},
    "grouped": {"num_layers": 2, "num_groups": 2},
    "masked": {"num_layers": 4, "masked_layers": 3},
    "single": {"codebook_dim": 16, "codebook_size": 64},
}


@functools.cache
def echo(shape: str = "residual") -> Codec:
    """Return a small EchoCodec with random weights, and books that its latents use."""
    changes = {"codebook_size": 12, "init": "uniform"} | QUANTIZERS[shape]
    config = EchoCodecConfig(
        sample_rate=8000,
        hop_length=64,
        n_fft=128,
        width=16,
        kernel_size=3,
        encoder_outer=1,
        encoder_inner=1,
        decoder_inner=1,
        decoder_outer=1,
        quantizer=QuantizerConfig(6, **changes),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = EchoCodec(config).eval().requires_grad_(False)
        codec.quantizer.codebooks.set_books(torch.randn(codec.quantizer.codebooks.books.shape))
    return codec


@functools.cache
def language() -> LanguageCodec:
    """Return a small Language-Codec with random weights, and books that its latents use."""
    config = LanguageCodecConfig(
        ratios=(2, 3),
        encoder_channels=4,
        width=8,
        hidden=12,
        blocks=1,
        n_fft=24,
        quantizer=QuantizerConfig.mcrvq(6, num_layers=4, codebook_size=12),
        weight_norm=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = LanguageCodec(config).eval().requires_grad_(False)
        latents = codec.encoder(torch.randn(1, 3000)).transpose(1, 2).flatten(0, 1)
        codec.quantizer.codebooks.start(latents, codec.quantizer.masks)
    return codec


def codes(books: int, size: int) -> Callable[[int, int, torch.Generator], Tensor]:
    """Return a maker of random codes (B, books, F)."""

    def make(batch: int, frames: int, generator: torch.Generator) -> Tensor:
        return torch.randint(size, (batch, books, frames), generator=generator)

    return make


TO_CODES: dict[str, Any] = {"tolerance": 0.0, "differentiable": False}
FROM_CODES: dict[str, Any] = {"differentiable": False}
LOUD = noise(scale=1.0)

CODEC_CASES = [
    Case("echo_encoder", lambda: echo().streaming_encoder(), noise(), 2000, **TO_CODES),
    Case("echo_encoder_2_codes", lambda: echo().streaming_encoder(2), noise(), 2000, **TO_CODES),
    Case("echo_grouped", lambda: echo("grouped").streaming_encoder(), noise(), 2000, **TO_CODES),
    Case("echo_masked", lambda: echo("masked").streaming_encoder(), noise(), 2000, **TO_CODES),
    Case("echo_single", lambda: echo("single").streaming_encoder(), noise(), 2000, **TO_CODES),
    Case("echo_decoder", lambda: echo().streaming_decoder(), codes(3, 12), 40, **FROM_CODES),
    Case("echo_latents", lambda: cast(Any, echo().encoder), noise(), 2000),
    Case("echo_spectra", lambda: cast(Any, echo().decoder), channels(6), 40),
    Case("language_encoder", lambda: language().streaming_encoder(), LOUD, 240, **TO_CODES),
    Case("language_latents", lambda: cast(Any, language().encoder), LOUD, 240),
    Case("language_spectra", lambda: cast(Any, language().decoder), channels(6), 40),
    *HIFIGAN_CASES,
    *UPSTREAM_CASES,
]

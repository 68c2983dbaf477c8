"""HiFi-Codec and DistilCodec with few channels and short frames, random but always the same."""

import functools

import torch

from echoic.audio.features.codec_mel import MelConfig
from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.distilcodec.model import DistilCodec
from echoic.codecs.hificodec.config import HiFiCodecConfig
from echoic.codecs.hificodec.model import HiFiCodec
from echoic.codecs.hifigan import GeneratorConfig
from echoic.codecs.quantize.config import QuantizerConfig

BLOCKS = {"block_kernels": (3, 5), "block_dilations": ((1, 2), (3,))}


def small_hificodec_config(**changes) -> HiFiCodecConfig:
    """6 samples a frame."""
    settings: dict = {
        "sample_rate": 16_000,
        "generator": GeneratorConfig((3, 2), (7, 4), 16, **BLOCKS),
        "encoder_channels": 8,
        "norm_channels": 4,
        "quantizer": QuantizerConfig.grvq(32, codebook_size=16),
    }
    return HiFiCodecConfig(**settings | changes)


@functools.cache
def small_hificodec() -> HiFiCodec:
    """Plain weights, in evaluation mode; shared, so that tests leave it as it is."""
    return _drawn(HiFiCodec, small_hificodec_config(weight_norm=False))


def small_distilcodec_config(**changes) -> DistilCodecConfig:
    """16 samples a frame."""
    settings: dict = {
        "mel": MelConfig(sample_rate=16_000, n_fft=64, hop_length=16, num_mels=5, epsilon=1e-6),
        "widths": (6, 8),
        "depths": (1, 2),
        "kernel_size": 5,
        "layer_scale": 0.5,
        "drop_path": 0.0,
        "generator": GeneratorConfig((4, 4), (8, 8), 16, **BLOCKS, activation="silu"),
        "quantizer": QuantizerConfig.single(8, codebook_size=64, codebook_dim=12),
    }
    return DistilCodecConfig(**settings | changes)


@functools.cache
def small_distilcodec() -> DistilCodec:
    """Plain weights, in evaluation mode; shared, so that tests leave it as it is."""
    return _drawn(DistilCodec, small_distilcodec_config(weight_norm=False))


def _drawn(codec_class, config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        codec = codec_class(config).eval().requires_grad_(False)
        books = codec.quantizer.codebooks
        books.set_books(_among_latents(codec, books.books.shape))
    return codec


def _among_latents(codec, shape: torch.Size) -> torch.Tensor:
    """Return books of which the first layer's lie where latents do, so that all codes occur."""
    _, groups, size, width = shape
    rows = codec.encoder(0.1 * torch.randn(1, size * codec.hop_length))[0].T
    if codec.quantizer.project_in is not None:
        rows = codec.quantizer.project_in(rows)
    books = 0.2 * rows.std() * torch.randn(shape)
    books[0] = rows.reshape(size, groups, width).transpose(0, 1)
    return books

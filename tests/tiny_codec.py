"""A codec that is small enough to be made for each test; random, but what it gives is fixed."""

import functools
from pathlib import Path

import torch

from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.echocodec.model import EchoCodec
from echoic.codecs.quantize.config import QuantizerConfig


@functools.cache
def tiny_codec(seed: int = 0) -> EchoCodec:
    """16 kHz, 50 frames of 3 codes of 5 bits a second: 750 bit/s."""
    config = EchoCodecConfig(
        width=16,
        expansion=1,
        encoder_outer=1,
        encoder_inner=1,
        decoder_inner=1,
        decoder_outer=1,
        quantizer=QuantizerConfig(dim=8, codebook_size=32, num_layers=3, init="uniform"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        codec = EchoCodec(config).eval()
        codec.quantizer.codebooks.set_books(0.1 * torch.randn(3, 1, 32, 8))
    return codec


class WholeCodec(EchoCodec):
    """The same, as if it needed the whole recording."""

    encoder_waits = decoder_waits = "its attention sees everything"


@functools.cache
def whole_codec() -> WholeCodec:
    """`tiny_codec` with its weights, unable to stream."""
    codec = WholeCodec(tiny_codec().config).eval()
    codec.load_state_dict(tiny_codec().state_dict())
    return codec


def saved_codec(folder: Path, seed: int = 0) -> Path:
    """A codec in a folder, as `--model` takes it."""
    tiny_codec(seed).save_pretrained(folder)
    return folder

"""A speech tokenizer with random weights, of a Whisper with random weights."""

import functools
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.tokenizer.book import Book
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.model import TokenizerModel
from echoic.asr.tokenizer.tokenizer import SpeechTokenizer
from echoic.asr.whisper.config import WhisperConfig

# Windows of three blocks, of 80 ms each: what begins anew behind them soon does.
SIZES = replace(SMALL, encoder_layers=3, max_source_positions=14)
CONFIG = TokenizerConfig(SIZES, layers=2, pooling=2, block=4, codebook_size=24)


def calm_state(sizes: WhisperConfig = SIZES, seed: int = 0) -> dict[str, Tensor]:
    """Return weights of a Whisper, too small to blow up what is rounded."""
    return {
        name: 0.2 * value if value.dim() > 1 and "embed" not in name else value
        for name, value in random_state(sizes, seed).items()
    }


@functools.cache
def small_model(config: TokenizerConfig = CONFIG) -> TokenizerModel:
    """Whoever takes it leaves it as it is."""
    model = TokenizerModel.of_whisper(config, calm_state(config.whisper))
    return model.eval().requires_grad_(False)


def murmur(batch: int, samples: int, generator: torch.Generator) -> Tensor:
    """Return noise (batch, samples) that swells and fades: each 40 ms have their own loudness."""
    steps = -(-samples // 640)
    loudness = torch.rand(batch, steps, generator=generator).pow(3).repeat_interleave(640, dim=1)
    return loudness[:, :samples] * torch.randn(batch, samples, generator=generator)


@functools.cache
def small_tokenizer(config: TokenizerConfig = CONFIG) -> SpeechTokenizer:
    """Return a tokenizer whose codes are states that it has heard."""
    front, generator = small_model(config).front, torch.Generator().manual_seed(1)
    book = Book(torch.zeros(config.codebook_size, config.whisper.d_model))
    tokenizer = SpeechTokenizer(config, front, book).eval().requires_grad_(False)
    samples = 4 * config.hop_length * config.codebook_size
    mel = tokenizer.log_mel(murmur(1, samples, generator))
    states = front(mel, torch.tensor([mel.shape[1] // 2])).states[0]
    some = torch.randperm(len(states), generator=generator)[: config.codebook_size]
    book.vectors.copy_(states[some])
    return tokenizer


def whisper_folder(folder: Path) -> Path:
    """Write a Whisper that a tokenizer can be made of."""
    sizes = replace(SIZES, max_source_positions=1500)
    return write_folder(folder, calm_state(sizes), sizes)

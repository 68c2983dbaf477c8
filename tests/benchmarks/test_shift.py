"""Whisper with layers moved from its decoder to its encoder, at equal parameters: decoding's time.

A decoder that writes token by token waits for itself; an encoder does not (Canary, arXiv
2503.05931). An encoder layer has 12 squares of the width, a decoder layer 16: three of these are
four of those, to the last parameter but for biases and norms. Weights are random, so all write as
many tokens of no meaning.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from benchmarks.clock import threads
from benchmarks.measure import Say, align, machine
from benchmarks.pairs import Turns, take_turns
from benchmarks.settings import Settings
from whisper_factory import random_state

from echoic.asr.whisper.box import BOX
from echoic.asr.whisper.config import GenerationConfig, WhisperConfig
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.tokenizer import WhisperTokenizer

pytestmark = pytest.mark.timeout(0)  # none

SECONDS = 10
TOKENS = 40  # of English in that time, and some
BATCHES = (1, 8)
SMALL_WEIGHT = 0.02


@dataclass(frozen=True)
class Size:
    """A size of Whisper, and its layers before and after: (of the encoder, of the decoder)."""

    name: str
    width: int
    before: tuple[int, int]
    after: tuple[int, int]

    def model(self, layers: tuple[int, int]) -> WhisperModel:
        config = WhisperConfig(
            vocab_size=51864,
            num_mel_bins=80,
            d_model=self.width,
            encoder_layers=layers[0],
            encoder_attention_heads=self.width // 64,
            encoder_ffn_dim=4 * self.width,
            decoder_layers=layers[1],
            decoder_attention_heads=self.width // 64,
            decoder_ffn_dim=4 * self.width,
        )
        tokenizer = WhisperTokenizer.from_folder(BOX / "tiny.en")
        model = WhisperModel(config, GenerationConfig.from_dict({}, config, tokenizer), tokenizer)
        drawn = random_state(config).items()
        state = {name.removeprefix("model."): SMALL_WEIGHT * value for name, value in drawn}
        model.load_state_dict(state, strict=False)
        return model.to_inference(device=torch.device("cpu"), dtype="float32")


SIZES = [
    Size("tiny", 384, (4, 4), (8, 1)),
    Size("base", 512, (6, 6), (10, 3)),
    Size("small", 768, (12, 12), (24, 3)),
]


def write(model: WhisperModel, encoded: EncodedWindows) -> torch.Tensor:
    """Return (B, TOKENS) of greedy decoding; nobody stops before."""
    prompt = model.tokenizer.prompt(None)
    cache = model.decoder.start(*encoded, capacity=len(prompt) + TOKENS)
    tokens = torch.tensor([prompt]).expand(len(encoded.states), -1)
    found = []
    for _ in range(TOKENS):
        tokens = model.decoder.logits(model.decoder(tokens, cache)[:, -1]).argmax(-1)[:, None]
        found.append(tokens)
    return torch.cat(found, 1)


def works(model: WhisperModel, batch: int) -> list[Callable[[], Any]]:
    """Return what encodes a batch, and what decodes it."""
    generator = torch.Generator().manual_seed(0)
    wavs = [0.1 * torch.randn(SECONDS * SAMPLE_RATE, generator=generator) for _ in range(batch)]
    encoded = model.encode(wavs)
    assert write(model, encoded).shape == (batch, TOKENS)  # warms up
    return [lambda: model.encode(wavs), lambda: write(model, encoded)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_decoding(size: Size, settings: Settings, say: Say) -> None:
    """Real-time factors before and after, in one thread."""
    columns = "batch|layers|parameters M|encoder s|decoder s|x real time|faster|min-max"
    lines: list[Sequence[str]] = [columns.split("|")]
    models = [size.model(layers) for layers in (size.before, size.after)]
    counts = [sum(v.numel() for v in random_state(model.config).values()) for model in models]
    assert counts[1] == pytest.approx(counts[0], rel=2e-3), "at equal parameters"
    with torch.inference_mode(), threads(1):
        for batch in BATCHES:
            both = [work for model in models for work in works(model, batch)]
            turns = take_turns(both, settings.runs)
            wholes: list[Turns] = [turns[0] + turns[1], turns[2] + turns[3]]
            for i, layers in enumerate((size.before, size.after)):
                shown = [f"{own.median:.3f}" for own in turns[2 * i : 2 * i + 2]]
                speed = batch * SECONDS / wholes[i].median
                faster = wholes[0].over(wholes[i])
                name = f"{layers[0]} + {layers[1]}"
                lines.append(
                    [str(batch), name, f"{counts[i] / 1e6:.1f}", *shown, f"{speed:.1f}", *faster]
                )
    say(
        f"## decoder to encoder, {size.name}: {SECONDS} s, {TOKENS} tokens, float32, one thread\n"
        f"{machine(['torch'])}\n{align(lines)}"
    )

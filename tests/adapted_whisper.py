"""Small random Whispers that hold language adapters with an effect."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from random_whisper import fresh_whisper
from torch import Tensor

from echoic.asr.whisper.adapter import Adapter, AdapterConfig
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.encoder import Encoder
from echoic.asr.whisper.language_adapter import (
    LanguageAdapter,
    LanguageAdapterConfig,
    fresh_state,
    hold,
    print_of_model,
)
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.encoder import CausalEncoder, EncoderState

QUERY = "encoder.layers.0.self_attn.q_proj"


def calm_whisper() -> WhisperModel:
    """Return a multilingual model of its own whose weights do not blow up what is rounded."""
    model = fresh_whisper(multilingual=True)
    with torch.no_grad():
        for layer in (*model.encoder.layers, *model.decoder.layers):
            for weight in layer.parameters():
                weight.mul_(0.3)
    return model


def settings(model: WhisperModel, *languages: str, bottleneck: int = 5) -> LanguageAdapterConfig:
    """Return what an adapter of this model says of itself."""
    config: WhisperConfig = model.config
    return LanguageAdapterConfig(
        languages or ("es",),
        bottleneck,
        config.d_model,
        config.encoder_layers,
        "small-random",
        print_of_model(model),
    )


def some_adapter(
    model: WhisperModel, *languages: str, seed: int = 1, bottleneck: int = 5, **changes: Any
) -> LanguageAdapter:
    """Return an adapter of a model, with random weights that have an effect."""
    config = replace(settings(model, *languages, bottleneck=bottleneck), **changes)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in fresh_state(config).items()
    }
    return LanguageAdapter(config, state)


def adapted_whisper(dtype: str | None = None) -> WhisperModel:
    """Return a model with adapters of Spanish and, narrower, of French."""
    model = calm_whisper()
    adapters = [
        some_adapter(model, "es"),
        some_adapter(model, "fr", seed=2, bottleneck=3),
    ]
    hold(model, adapters)
    return model if dtype is None else model.to_inference(device=torch.device("cpu"), dtype=dtype)


def small_lora(model: WhisperModel, seed: int = 3) -> Adapter:
    """Return a LoRA adapter of one module."""
    generator = torch.Generator().manual_seed(seed)
    width = model.config.d_model
    state = {
        f"{QUERY}.lora_A.weight": 0.2 * torch.randn(2, width, generator=generator),
        f"{QUERY}.lora_B.weight": 0.2 * torch.randn(width, 2, generator=generator),
    }
    return Adapter(AdapterConfig(r=2, lora_alpha=2, target_modules=f".*{QUERY}"), state)


@functools.cache
def spanish_encoder() -> Encoder:
    """Return the encoder of a model with adapters; whoever takes it leaves it as it is."""
    return adapted_whisper().encoder.requires_grad_(False)


class Spanish(CausalEncoder):
    """An encoder whose streams are all Spanish."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__(spanish_encoder(), blocks)

    def __call__(self, mel: Tensor, which: Tensor | None = None) -> Tensor:
        """Encode whole windows in one pass."""
        return super().__call__(mel, numbers([1] * len(mel)))

    def initial_state(self, batch_size: int = 1, **options: Any) -> EncoderState:
        """Return the state before the first frame."""
        options["which"] = numbers([1] * batch_size)
        return super().initial_state(batch_size, **options)


def numbers(values: Sequence[int]) -> Tensor:
    """Return numbers of adapters, int64."""
    return torch.tensor(list(values), dtype=torch.int64)

"""Small random Whispers with LoRA adapters that have an effect, beside them and merged in."""

from collections.abc import Sequence

import torch
from random_whisper import fresh_whisper

from echoic.asr.whisper.adapter import Adapter, AdapterConfig, merge
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layout import expected_shapes
from echoic.asr.whisper.model import WhisperModel

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
CPU = torch.device("cpu")
# What adapters change: all of attention, queries and values, the feed-forward parts, everything.
KINDS = (ATTENTION, ("q_proj", "v_proj"), ("fc1", "fc2"), (*ATTENTION, "fc1", "fc2"))
RANKS = (1, 4, 2, 7)


def calm_whisper() -> WhisperModel:
    """Return a model before inference whose weights do not blow up what is rounded."""
    model = fresh_whisper()
    with torch.no_grad():
        for layer in (*model.encoder.layers, *model.decoder.layers):
            for weight in layer.parameters():
                weight.mul_(0.3)
    return model


def random_lora(
    config: WhisperConfig,
    seed: int,
    *,
    r: int | None = None,
    targets: Sequence[str] | None = None,
    size: float = 0.3,
) -> Adapter:
    """Return an adapter; where they are not given, its rank and targets go with the seed."""
    targets = KINDS[seed % 4] if targets is None else targets
    r = RANKS[seed // 4 % 4] if r is None else r
    settings = AdapterConfig(r=r, lora_alpha=2 * r, target_modules=tuple(targets))
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes(config).items():
        module = name.removeprefix("model.").removesuffix(".weight")
        if name.endswith(".weight") and len(shape) == 2 and settings.selects(module):
            outputs, inputs = shape
            down = size * torch.randn(r, inputs, generator=generator)
            up = size * torch.randn(outputs, r, generator=generator)
            state[f"{module}.lora_A.weight"], state[f"{module}.lora_B.weight"] = down, up
    return Adapter(settings, state)


def merged(adapter: Adapter | None, dtype: str = "float32") -> WhisperModel:
    """Return the calm model with an adapter merged in, turned to inference."""
    model = calm_whisper()
    if adapter is not None:
        merge(model, adapter)
    return model.to_inference(device=CPU, dtype=dtype)

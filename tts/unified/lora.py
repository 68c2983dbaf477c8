"""Low-rank adapters on an LLM's layers, by peft: put in, turned off, merged."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from echoic.tts.unified.config import LoraSettings, Targets

_ATTENTION = "q_proj|k_proj|v_proj|o_proj"
_PATTERNS: dict[Targets, str] = {
    "attention": rf".*\.({_ATTENTION})",
    "attention+mlp": rf".*\.({_ATTENTION}|gate_proj|up_proj|down_proj)",
}


def add_lora(backbone: nn.Module, settings: LoraSettings) -> None:
    """Freeze an LLM and put fresh adapters into it, in place; they change nothing yet."""
    from peft import LoraConfig, inject_adapter_in_model

    backbone.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or settings.rank,
        target_modules=_PATTERNS[settings.targets],
        lora_dropout=settings.dropout,
        bias="none",
    )
    inject_adapter_in_model(config, backbone)


def has_lora(backbone: nn.Module) -> bool:
    """Return whether `add_lora` was called, and `merge_lora` was not."""
    return bool(_adapted(backbone))


@contextmanager
def without_lora(backbone: nn.Module) -> Generator[None, None, None]:
    """Turn adapters off for a while; without any, nothing happens."""
    layers = [layer for _, layer in _adapted(backbone)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.no_grad()
def merge_lora(backbone: nn.Module) -> None:
    """Add the adapters to the weights, in place: what remains is a plain LLM.

    Raises:
        ValueError: adapters that are not finite.
    """
    for name, layer in _adapted(backbone):
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(backbone.get_submodule(parent), own, layer.get_base_layer())


def _adapted(backbone: nn.Module) -> list[tuple[str, Any]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(n, m) for n, m in backbone.named_modules() if isinstance(m, BaseTunerLayer)]

"""Low-rank adapters on Whisper (Hu et al. 2021; Krichli et al. 2025, section 3.1), by peft."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Targets = Literal["attention", "attention+mlp"]

_ATTENTION = r"(self_attn|encoder_attn)\.(q_proj|k_proj|v_proj|out_proj)"
_PATTERNS: dict[Targets, str] = {
    "attention": rf".*{_ATTENTION}",
    "attention+mlp": rf".*({_ATTENTION}|fc1|fc2)",
}


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Which products get an adapter, and how wide.

    Attributes:
        rank: width; the paper has 32 for base and small, 4 for large-v2.
        alpha: scale times rank; None for `rank`, a scale of 1 as in the paper.
        targets: "attention" as in the paper (queries, keys, values and outputs of all attention
            layers of encoder and decoder), or the feed-forward layers too.
        dropout: of the adapters' inputs in training.
    """

    rank: int = 32
    alpha: int | None = None
    targets: Targets = "attention"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}: expected 1 or more")
        if self.targets not in _PATTERNS:
            raise ValueError(f"targets is {self.targets!r}, expected one of {list(_PATTERNS)}")

    @property
    def pattern(self) -> str:
        """Full-match pattern of the modules' names."""
        return _PATTERNS[self.targets]


def add_lora(model: nn.Module, settings: LoraSettings) -> None:
    """Freeze a model and put fresh adapters into it, in place."""
    from echoic.audio import torchaudio_guard

    torchaudio_guard.install()
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or settings.rank,
        target_modules=settings.pattern,
        lora_dropout=settings.dropout,
        bias="none",
    )
    inject_adapter_in_model(config, model)


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the adapters' weights by the model's own names, without the adapter's name."""
    return {
        name.replace(".default.", "."): value.detach()
        for name, value in model.state_dict().items()
        if ".lora_A." in name or ".lora_B." in name
    }


def load_lora_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put weights into a model that `add_lora` was called on; the inverse of `lora_state`.

    Raises:
        ValueError: the names are not those of this model's adapters.
    """
    own = {name.replace(".default.", "."): value for name, value in model.state_dict().items()}
    wanted = {name for name in own if ".lora_A." in name or ".lora_B." in name}
    if wanted != set(state):
        raise ValueError(
            f"the state has {len(state)} adapter weights, this model {len(wanted)}, and "
            f"{len(wanted ^ set(state))} names differ: take the settings it was trained with"
        )
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)

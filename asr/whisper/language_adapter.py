"""Adapters of Whisper's encoder for single languages, held side by side in one model.

After "Efficient Adapter Finetuning for Tail Languages in Streaming Multilingual ASR" (Bai et al.
2024, arXiv 2401.08992): the model stays as it is, and each language has small residual networks of
its own behind the encoder's layers, 0.5 % of the parameters at most. Frames are adapted one by one,
so a model that streams still does. The decoder is told the language by its prompt, and has none.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.languages import LANGUAGES
from echoic.asr.whisper.adapter import Adapter
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layer_adapters import LayerAdapters
from echoic.asr.whisper.layout import expected_shapes
from echoic.asr.whisper.model import WhisperModel

#: Most of a model's parameters that one language may have.
SHARE = 0.005


@dataclass(frozen=True, slots=True)
class LanguageAdapterConfig:
    """What an adapter is for, and its sizes.

    Attributes:
        languages: codes; several for one that was merged.
        bottleneck: inner width.
        width: of the encoder.
        layers: of the encoder.
        base_model: name of the model that it was trained on; of the LoRA adapter of a causal one.
        base_print: see `print_of_model`.
        causal_print: see `print_of_adapter`, of the LoRA adapter that made the model causal; None
            where it heard whole windows.
    """

    languages: tuple[str, ...]
    bottleneck: int
    width: int
    layers: int
    base_model: str
    base_print: str
    causal_print: str | None = None

    def __post_init__(self) -> None:
        if not self.languages or len(set(self.languages)) < len(self.languages):
            raise CheckpointError(f"languages are {self.languages!r}, expected codes, each once")
        for code in self.languages:
            if code not in LANGUAGES:
                raise CheckpointError(f"language {code!r} is none of Whisper's codes")
        for name in ("bottleneck", "width", "layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"{name} is {value!r}, expected an integer of 1 or more")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight."""
        c, r = self.width, self.bottleneck
        layer = {
            "norm.weight": (c,),
            "norm.bias": (c,),
            "down.weight": (r, c),
            "down.bias": (r,),
            "up.weight": (c, r),
            "up.bias": (c,),
        }
        return {f"layers.{i}.{n}": shape for i in range(self.layers) for n, shape in layer.items()}

    @property
    def num_parameters(self) -> int:
        """How many numbers it holds."""
        return sum(math.prod(shape) for shape in self.shapes.values())


@dataclass(frozen=True, slots=True)
class LanguageAdapter:
    """An adapter.

    Attributes:
        config: what it is for.
        state: float32 on the CPU, by the names of `LanguageAdapterConfig.shapes`.
        folder: where it was found.
    """

    config: LanguageAdapterConfig
    state: Mapping[str, Tensor]
    folder: Path | None = None

    def layer(self, index: int) -> dict[str, Tensor]:
        """Return the weights behind one layer of the encoder."""
        prefix = f"layers.{index}."
        return {n.removeprefix(prefix): t for n, t in self.state.items() if n.startswith(prefix)}


def num_parameters(config: WhisperConfig) -> int:
    """Return how many numbers a Whisper holds, the output projection, which is tied, only once."""
    return sum(math.prod(shape) for shape in expected_shapes(config).values())


def largest_bottleneck(config: WhisperConfig, share: float = SHARE) -> int:
    """Return the inner width of the largest adapter that keeps to a share of the parameters.

    Raises:
        ValueError: not even a width of 1 does.
    """
    budget = share * num_parameters(config) / config.encoder_layers
    found = int((budget - 3 * config.d_model) // (2 * config.d_model + 1))
    if found < 1:
        raise ValueError(
            f"no adapter has {100 * share:g} % of this model's parameters or less; raise share"
        )
    return found


def checked_bottleneck(
    config: WhisperConfig, bottleneck: int | None = None, share: float = SHARE
) -> int:
    """Return the inner width that is asked for, or the largest one.

    Args:
        config: of the model.
        bottleneck: what is asked for; None for the largest.
        share: of the model's parameters that an adapter may have.

    Raises:
        ValueError: it is larger than the share allows.
    """
    most = largest_bottleneck(config, share)
    if bottleneck is None:
        return most
    if not 1 <= bottleneck <= most:
        raise ValueError(
            f"bottleneck is {bottleneck}; with {100 * share:g} % of this model's parameters it is "
            f"1 to {most}: choose such a one, or raise share"
        )
    return bottleneck


def fresh_state(config: LanguageAdapterConfig, seed: int = 0) -> dict[str, Tensor]:
    """Return weights to begin from, which change nothing: what goes up is zero.

    Those of all languages begin the same for one seed; else a mean of them would mean nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.zeros(shape) for name, shape in config.shapes.items()}
    for name, value in state.items():
        if name.endswith("norm.weight"):
            value.fill_(1.0)
        elif name.endswith("down.weight"):
            value.normal_(0.0, config.width**-0.5, generator=generator)
    return state


def print_of_model(model: WhisperModel) -> str:
    """Return a text that other trainings of a Whisper do not have: a hash of its layer norms.

    In half precision, so that models stored in half precision or in eight bits have it, too; LoRA
    adapters leave the norms alone. Before `to_inference`.
    """
    state = model.state_dict()
    return _print({n: t for n, t in state.items() if "layer_norm." in n})


def print_of_adapter(adapter: Adapter) -> str:
    """Return a text that other LoRA adapters do not have: a hash of its weights."""
    return _print(adapter.state)


def _print(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()[:16]


def hold(
    model: WhisperModel, adapters: Sequence[LanguageAdapter], *, causal: Adapter | None = None
) -> WhisperModel:
    """Put adapters into a model, in place of those that it holds; rows choose by their language.

    Args:
        model: before `to_inference`, with the causal adapter merged if there is one.
        adapters: of different languages.
        causal: the LoRA adapter that makes the model causal.

    Returns:
        The same model.

    Raises:
        CheckpointError: an adapter is of another model.
        ValueError: two are of one language, or the model was already turned to inference.
    """
    blocks = model.encoder.blocks()
    if blocks[0].self_attn.fused_qkv is not None:
        raise ValueError("the model was turned to inference: put adapters into it before")
    found = print_of_model(model), None if causal is None else print_of_adapter(causal)
    numbers: dict[str, int] = {}
    for number, adapter in enumerate(adapters, start=1):
        _check(adapter, model.config, *found)
        for code in adapter.config.languages:
            if code in numbers:
                raise ValueError(f"two adapters are of {code}: give one, or merge them")
            numbers[code] = number
    widest = max((adapter.config.bottleneck for adapter in adapters), default=1)
    for index, layer in enumerate(blocks):
        layer.adapters = None
        if adapters:
            # The first is for rows of no language: it stays zero.
            layer.adapters = LayerAdapters(len(adapters) + 1, model.config.d_model, widest)
            layer.adapters.to(model.device)
            for number, adapter in enumerate(adapters, start=1):
                layer.adapters.put(number, adapter.layer(index))
    model.adapter_numbers = numbers
    return model


def check_language(model: WhisperModel, language: str | None) -> None:
    """Refuse a language that was asked for, where adapters were given, and none is of it.

    Raises:
        ValueError: says which there are.
    """
    numbers = model.adapter_numbers
    if numbers and language is not None and language not in numbers:
        raise ValueError(
            f"language is {language}, the language adapters are of {', '.join(numbers)}: choose "
            "one of these, or leave the adapters out"
        )


def _check(
    adapter: LanguageAdapter, model: WhisperConfig, base_print: str, causal_print: str | None
) -> None:
    config = adapter.config
    who, mend = adapter.folder or "the adapter", f"take {config.base_model}, or another adapter"
    if (config.layers, config.width) != (model.encoder_layers, model.d_model):
        raise CheckpointError(
            f"{who} is for {config.layers} encoder layers of width {config.width}, this model has "
            f"{model.encoder_layers} of {model.d_model}; {mend}"
        )
    if config.base_print != base_print:
        raise CheckpointError(
            f"{who} was trained on other weights ({config.base_print}) than this model's "
            f"({base_print}); {mend}"
        )
    if config.causal_print == causal_print:
        return
    if config.causal_print is None:
        raise CheckpointError(
            f"{who} was trained on whole windows, and this model hears in blocks; transcribe "
            "offline, stream with --policy agreement, or train one on the causal model"
        )
    if causal_print is None:
        raise CheckpointError(
            f"{who} was trained on a causal model, and this one hears whole windows; stream with "
            "that model, or train one on this"
        )
    raise CheckpointError(
        f"{who} was trained on another causal model ({config.causal_print}) than this "
        f"({causal_print}); stream with that, or train one on this"
    )

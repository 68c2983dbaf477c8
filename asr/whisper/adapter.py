"""LoRA adapters of Whisper as peft's folders, read, merged and written without peft.

A folder holds `adapter_config.json`, `adapter_model.safetensors` and, for a causal Whisper, the
settings of its stream in `echoic_streaming.json`. Weights are named in the file as peft names those
of Hugging Face's Whisper, "base_model.model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
so peft loads the folder; in memory they have our names, "encoder.layers.0.self_attn.q_proj.lora_A.
weight". Nothing is ever unpickled.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.adapter_config import (
    CONFIG_FILE,
    STREAMING_FILE,
    AdapterConfig,
    StreamingAdapterConfig,
    read_object,
)
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layout import expected_shapes
from echoic.asr.whisper.model import WhisperModel

__all__ = [
    "Adapter",
    "AdapterConfig",
    "StreamingAdapterConfig",
    "check_adapter",
    "from_peft_names",
    "load_adapter",
    "merge",
    "save_adapter",
    "to_peft_names",
]

WEIGHTS_FILE = "adapter_model.safetensors"

_PART = r"(?:self_attn|encoder_attn)\.(?:q_proj|k_proj|v_proj|out_proj)|fc1|fc2"
_MODULE = re.compile(rf"(?:encoder|decoder)\.layers\.\d+\.(?:{_PART})")
# The prefixes of peft's wrapper and of Hugging Face's class may lack; in a live model the adapter
# has a name, "default".
_WEIGHT = re.compile(
    rf"(?:base_model\.model\.)?(?:model\.)?({_MODULE.pattern})\.lora_([AB])(?:\.[\w-]+)?\.weight"
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter of a Whisper model.

    Attributes:
        config: which modules it changes and how much.
        state: float32 (r, in) as "<module>.lora_A.weight" and (out, r) as "<module>.lora_B.weight",
            on the CPU, the modules by `WhisperModel`'s names.
        streaming: how to cut the stream, where the adapter makes the model causal.
        metadata: free texts from the weights' file.
        folder: where it was found.
    """

    config: AdapterConfig
    state: dict[str, Tensor]
    streaming: StreamingAdapterConfig | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def modules(self) -> list[str]:
        """Names of the modules that it changes."""
        return sorted({name.rsplit(".", 2)[0] for name in self.state})

    @property
    def num_parameters(self) -> int:
        """How many numbers it holds."""
        return sum(tensor.numel() for tensor in self.state.values())

    @property
    def base_model(self) -> str | None:
        """Name of the model that it adapts, or the path of one that lies in its folder."""
        name = self.streaming.base_model if self.streaming else self.config.base_model
        if self.folder is None or name is None or not name.startswith("./"):
            return name
        return str(self.folder / name)

    def delta(self, module: str) -> Tensor:
        """Return what is added to a module's weight, float32 (out, in)."""
        down, up = (self.state[f"{module}.lora_{side}.weight"] for side in "AB")
        return up @ down * self.config.scale(_full(module))

    def factors(self, module: str) -> tuple[Tensor, Tensor]:
        """Return float32 (r, in) and (out, r), whose product in turn is `delta`."""
        down, up = (self.state[f"{module}.lora_{side}.weight"] for side in "AB")
        return down, up * self.config.scale(_full(module))


def load_adapter(folder: str | Path) -> Adapter:
    """Read an adapter folder that peft or `save_adapter` wrote.

    Args:
        folder: holds `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        CheckpointError: not a LoRA adapter of Whisper, or its files contradict each other; one line
            with the file, what was expected and what to do.
    """
    folder = Path(folder)
    try:
        config = AdapterConfig.from_dict(read_object(folder / CONFIG_FILE))
        named, metadata = _read_weights(folder)
        state = from_peft_names(named)
        _check_pairs(state, config)
        streaming = _read_streaming(folder / STREAMING_FILE)
    except CheckpointError as e:
        text = " ".join(str(e).split())
        where = "" if str(folder) in text else f"{folder}: "
        mend = "" if ";" in text else "; fetch or save the adapter again, or choose another"
        raise CheckpointError(f"{where}{text}{mend}") from e
    return Adapter(config, state, streaming, metadata, folder)


def save_adapter(
    folder: str | Path,
    state: Mapping[str, Tensor],
    config: AdapterConfig,
    *,
    streaming: StreamingAdapterConfig | None = None,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder that `load_adapter` reads, and peft over Hugging Face's Whisper, too.

    Args:
        folder: made if it does not exist.
        state: weights by our names, by those of a live peft model, or by peft's in files.
        config: which modules have them.
        streaming: settings of the stream of a causal model.
        metadata: free texts, kept in the weights' file.
        dtype: to store in; None keeps the state's. Half precision halves the file.

    Raises:
        CheckpointError: the state is not what `config` says, or too large for `dtype`.
    """
    folder = Path(folder)
    named = to_peft_names(state)
    _check_pairs(from_peft_names(named), config, by_full_name=True)
    stored = {
        name: tensor.detach().cpu().to(dtype or tensor.dtype) for name, tensor in named.items()
    }
    _check_values(stored)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS_FILE
    tensors = {name: tensor.contiguous() for name, tensor in stored.items()}
    save_file(tensors, path, metadata={"format": "pt", **(metadata or {})})
    path.chmod(0o644)  # safetensors makes it readable to its owner alone
    _write_object(folder / CONFIG_FILE, config.to_dict())
    if streaming is not None:
        _write_object(folder / STREAMING_FILE, streaming.to_dict())
    else:
        (folder / STREAMING_FILE).unlink(missing_ok=True)  # of an older adapter


def check_adapter(adapter: Adapter, config: WhisperConfig) -> None:
    """Compare an adapter with the sizes of the model that it is to change.

    Raises:
        CheckpointError: a module lacks its weights, has none in this model, or has other sizes.
    """
    source = adapter.folder or "the adapter"
    shapes = _linear_shapes(config)
    wanted = {module for module in shapes if _selects(adapter.config, module)}
    for word, modules in (
        ("has no weights for", wanted - set(adapter.modules)),
        ("has weights for another model, with", set(adapter.modules) - shapes.keys()),
    ):
        if modules:
            more = f" (and {len(modules) - 1} more)" if len(modules) > 1 else ""
            raise CheckpointError(
                f"{source} {word} {min(modules)}{more}; take the model that it was trained on"
                f"{_named(adapter.base_model)}"
            )
    for module in adapter.modules:
        down, up = (adapter.state[f"{module}.lora_{side}.weight"] for side in "AB")
        found = (up.shape[0], down.shape[1])
        if found != shapes[module]:
            raise CheckpointError(
                f"{source} changes a weight of shape {found} in {module}, this model's is "
                f"{shapes[module]}; take the model that it was trained on"
                f"{_named(adapter.base_model)}"
            )


def merge(model: WhisperModel, adapter: Adapter) -> WhisperModel:
    """Add an adapter to a model's weights, in place; what remains is a plain Whisper.

    The sum is computed as by peft's `merge_and_unload`, in float32. Tensors that the model shares
    with the checkpoint it came from are replaced, not written to.

    Args:
        model: in float arithmetic, before `to_inference`.
        adapter: of a model of these sizes.

    Returns:
        The same model.

    Raises:
        CheckpointError: the adapter is of another model.
        ValueError: the model was already turned to inference, or is being trained with adapters.
    """
    check_adapter(adapter, model.config)
    modules = {name: _plain_linear(model, name) for name in adapter.modules}
    with torch.no_grad():
        for name, module in modules.items():
            weight = module.weight
            delta = adapter.delta(name).to(weight.device, weight.dtype)
            weight.data = weight.data + delta
    return model


def to_peft_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return adapter weights under the names that peft's files give them for Hugging Face's model.

    Args:
        state: named as in `WhisperModel`, as in a live model that peft wraps, or as in the file.

    Raises:
        CheckpointError: a name that is no LoRA weight of Whisper's, or two for one weight.
    """
    return {f"base_model.model.model.{name}": t for name, t in from_peft_names(state).items()}


def from_peft_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return adapter weights under `WhisperModel`'s names; the inverse of `to_peft_names`.

    Raises:
        CheckpointError: a name that is no LoRA weight of Whisper's, or two for one weight.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _WEIGHT.fullmatch(name)
        if match is None:
            raise CheckpointError(
                f"unexpected tensor {name}, expected lora_A and lora_B of attention projections or "
                "of fc1 and fc2; save an adapter with these targets only"
            )
        short = f"{match[1]}.lora_{match[2]}.weight"
        if short in renamed:
            raise CheckpointError(f"{short} is there twice, the second time as {name}")
        renamed[short] = tensor
    return renamed


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickled = folder / "adapter_model.bin"
        mend = (
            "; adapter_model.bin is a pickle and is not read: save with safe_serialization=True"
            if pickled.is_file()
            else "; save the adapter again with peft's save_pretrained"
        )
        raise CheckpointError(f"{folder} has no {WEIGHTS_FILE}{mend}")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as e:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({e}); fetch it again"
        ) from e
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{path}: {name} holds {tensor.dtype}, expected floats")
    metadata.pop("format", None)
    wide = {name: tensor.float() for name, tensor in tensors.items()}
    _check_values(wide)
    return wide, metadata


def _read_streaming(path: Path) -> StreamingAdapterConfig | None:
    return StreamingAdapterConfig.from_dict(read_object(path)) if path.is_file() else None


def _check_pairs(
    state: Mapping[str, Tensor], config: AdapterConfig, *, by_full_name: bool = False
) -> None:
    if not state:
        raise CheckpointError("the adapter holds no weights; train it before saving")
    for module in sorted({name.rsplit(".", 2)[0] for name in state}):
        rank = config.rank(_full(module))
        for side, axis in (("A", 0), ("B", 1)):
            tensor = state.get(f"{module}.lora_{side}.weight")
            if tensor is None:
                raise CheckpointError(f"{module} has no lora_{side}; save the adapter again")
            if tensor.dim() != 2 or tensor.shape[axis] != rank:
                wanted = f"({rank}, in)" if side == "A" else f"(out, {rank})"
                raise CheckpointError(
                    f"lora_{side} of {module} has shape {tuple(tensor.shape)}, {CONFIG_FILE} says "
                    f"{wanted}; save the adapter again, with the config it was trained with"
                )
        chosen = config.selects(_full(module)) if by_full_name else _selects(config, module)
        if not chosen:
            raise CheckpointError(
                f"there are weights for {_full(module)}, which target_modules "
                f"{_shown(config.target_modules)} does not name; begin a pattern with '.*'"
            )


def _check_values(state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if not math.isfinite(tensor.sum(dtype=torch.float64)):
            raise CheckpointError(f"{name} holds NaN or infinity in {tensor.dtype}")


def _plain_linear(model: WhisperModel, name: str) -> nn.Linear:
    owner, _, child = name.rpartition(".")
    parent = model.get_submodule(owner)
    module = getattr(parent, child, None)
    fused = getattr(parent, "fused_qkv", None) or getattr(parent, "fused_kv", None)
    if type(module) is not nn.Linear or fused is not None or not module.weight.is_floating_point():
        found = "fused" if fused is not None else type(module).__name__
        raise ValueError(
            f"{name} is {found}, expected a plain float Linear: merge before `to_inference`, into "
            "a model that carries no adapters"
        )
    return module


def _linear_shapes(config: WhisperConfig) -> dict[str, tuple[int, ...]]:
    named = (
        (name.removeprefix("model.").removesuffix(".weight"), shape)
        for name, shape in expected_shapes(config).items()
        if name.endswith(".weight")
    )
    return {name: shape for name, shape in named if _MODULE.fullmatch(name)}


def _selects(config: AdapterConfig, module: str) -> bool:
    # By our own name as well: so peft sees it when it wraps a `WhisperModel`.
    return config.selects(_full(module)) or config.selects(module)


def _full(module: str) -> str:
    return f"model.{module}"


def _named(base_model: str | None) -> str:
    return f", {base_model}" if base_model else ""


def _shown(names: str | Iterable[str]) -> str:
    return repr(names) if isinstance(names, str) else ", ".join(names)


def _write_object(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

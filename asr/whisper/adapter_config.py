"""Settings of an adapter folder: peft's `adapter_config.json` and our `echoic_streaming.json`."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from echoic.asr.errors import CheckpointError

CONFIG_FILE = "adapter_config.json"
STREAMING_FILE = "echoic_streaming.json"

# Settings of peft that change neither which weights there are nor what they do after training.
_WITHOUT_EFFECT = {
    *("task_type", "auto_mapping", "peft_version", "revision", "inference_mode", "lora_dropout"),
    *("megatron_config", "megatron_core", "qalora_group_size", "layers_pattern"),
    *("loftq_config", "eva_config", "corda_config"),  # of `init_lora_weights`, which is checked
}
# Ways to begin that leave the base model alone; the others (pissa, olora, loftq, ...) rewrite it.
_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")

Names = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What `adapter_config.json` says of a LoRA adapter (Hu et al. 2021).

    Modules are named as in Hugging Face's Whisper ("model.encoder.layers.0.self_attn.q_proj").

    Attributes:
        r: rank, the width of the adapters.
        lora_alpha: scale times rank (times its square root with `use_rslora`).
        target_modules: which modules have one: a pattern of whole names, or ends of names.
        use_rslora: whether the scale is alpha / sqrt(r) (Kalajdzievski 2023), not alpha / r.
        rank_pattern: other ranks for modules whose name ends in a pattern.
        alpha_pattern: other alphas, likewise.
        exclude_modules: which modules have none although `target_modules` names them.
        base_model: name of the model that was adapted.
    """

    r: int
    lora_alpha: float
    target_modules: Names
    use_rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    exclude_modules: Names | None = None
    base_model: str | None = None

    def __post_init__(self) -> None:
        ranks = {"r": self.r, **{f"rank_pattern of {k!r}": v for k, v in self.rank_pattern.items()}}
        for name, rank in ranks.items():
            if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
                raise CheckpointError(f"{name} is {rank!r}, expected an integer of 1 or more")
        for name, alpha in {"lora_alpha": self.lora_alpha, **self.alpha_pattern}.items():
            if not _is_number(alpha):
                raise CheckpointError(f"alpha of {name!r} is {alpha!r}, expected a finite number")
        if not isinstance(self.use_rslora, bool):
            raise CheckpointError(f"use_rslora is {self.use_rslora!r}, expected true or false")
        if not self.target_modules:
            raise CheckpointError("target_modules is empty, expected a pattern or names of modules")
        patterns = [*self.rank_pattern, *self.alpha_pattern]
        patterns += [n for n in (self.target_modules, self.exclude_modules) if isinstance(n, str)]
        for pattern in patterns:
            _check_pattern(pattern)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the object of an `adapter_config.json`.

        Raises:
            CheckpointError: not LoRA, or a setting that would change the result and that we lack.
        """
        _refuse_unsupported(values)
        missing = [
            name for name in ("r", "lora_alpha", "target_modules") if values.get(name) is None
        ]
        if missing:
            raise CheckpointError(f"{CONFIG_FILE} has no {', '.join(missing)}")
        return cls(
            r=values["r"],
            lora_alpha=values["lora_alpha"],
            target_modules=_names(values, "target_modules") or (),
            use_rslora=values.get("use_rslora") or False,
            rank_pattern=_mapping(values, "rank_pattern"),
            alpha_pattern=_mapping(values, "alpha_pattern"),
            exclude_modules=_names(values, "exclude_modules"),
            base_model=_text(values, "base_model_name_or_path"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the object of an `adapter_config.json` that peft reads."""
        return {
            "peft_type": "LORA",
            "task_type": None,
            "base_model_name_or_path": self.base_model,
            "inference_mode": True,
            "r": self.r,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": 0.0,
            "use_rslora": self.use_rslora,
            "rank_pattern": dict(self.rank_pattern),
            "alpha_pattern": dict(self.alpha_pattern),
            "target_modules": _listed(self.target_modules),
            "exclude_modules": _listed(self.exclude_modules),
            "bias": "none",
            "fan_in_fan_out": False,
            "init_lora_weights": True,
        }

    def selects(self, name: str) -> bool:
        """Whether the module of this name has an adapter, by peft's rule."""
        excluded = self.exclude_modules is not None and _matches(self.exclude_modules, name)
        return not excluded and _matches(self.target_modules, name)

    def rank(self, name: str) -> int:
        """Return the rank of a module's adapter."""
        return _by_pattern(self.rank_pattern, name, self.r)

    def scale(self, name: str) -> float:
        """Return what the product of a module's two matrices is multiplied by."""
        rank = self.rank(name)
        alpha = _by_pattern(self.alpha_pattern, name, self.lora_alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


@dataclass(frozen=True, slots=True)
class StreamingAdapterConfig:
    """How a causal Whisper's adapter was trained, and so how its stream is to be cut.

    Attributes:
        base_model: name of the model that was adapted, or "./folder" beside this file.
        block_frames: sizes of the encoder's blocks in training, in frames of 20 ms, ascending.
        left_context_frames: frames before its block that a frame saw; None for all.
        initial_max: where the running maximum of the log-mel starts, in log10 units.
        delay_seconds: sound that must have been heard behind a token's end.
        hold_seconds: how long a token that was said may still be mended.
        sample_rate: of the sound, Hz.
        first_block_frames: size of a stream's first block; None for that of the others.
    """

    base_model: str
    block_frames: tuple[int, ...]
    left_context_frames: int | None
    initial_max: float
    delay_seconds: float
    hold_seconds: float
    sample_rate: int = 16_000
    first_block_frames: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.base_model, str) or not self.base_model:
            raise CheckpointError(f"base_model is {self.base_model!r}, expected a model's name")
        frames = self.block_frames
        if not isinstance(frames, tuple) or not frames or not all(_is_count(n, 1) for n in frames):
            raise CheckpointError(
                f"block_frames is {frames!r}, expected frames of 20 ms, 1 or more"
            )
        if list(frames) != sorted(set(frames)):
            raise CheckpointError(f"block_frames is {frames!r}, expected ascending sizes")
        for name, least in (("left_context_frames", 0), ("first_block_frames", 1)):
            value = getattr(self, name)
            if value is not None and not _is_count(value, least):
                raise CheckpointError(f"{name} is {value!r}, expected null or {least} or more")
        if not _is_number(self.initial_max):
            raise CheckpointError(f"initial_max is {self.initial_max!r}, expected a finite number")
        for name in ("delay_seconds", "hold_seconds"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                raise CheckpointError(f"{name} is {value!r}, expected seconds, 0 or more")
        if self.sample_rate != 16_000:
            raise CheckpointError(f"sample_rate is {self.sample_rate!r}, Whisper's is 16000")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the object of an `echoic_streaming.json`.

        Raises:
            CheckpointError: a key is missing, unknown, or of a wrong kind.
        """
        fields = dataclasses.fields(cls)
        unknown = sorted(values.keys() - {f.name for f in fields})
        missing = [
            f.name for f in fields if f.default is dataclasses.MISSING and f.name not in values
        ]
        for word, names in (("unknown", unknown), ("missing", missing)):
            if names:
                raise CheckpointError(f"{STREAMING_FILE}: {word} {', '.join(names)}")
        frames = values["block_frames"]
        return cls(
            **{**values, "block_frames": tuple(frames) if isinstance(frames, list) else frames}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the object of an `echoic_streaming.json`."""
        return {**dataclasses.asdict(self), "block_frames": list(self.block_frames)}


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of an adapter folder.

    Raises:
        CheckpointError: no such file, or it holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise CheckpointError(
            f"{path.parent} is no adapter folder: it has no {path.name}; give a folder saved by "
            "peft's save_pretrained or by `save_adapter`"
        ) from e
    except (OSError, ValueError, RecursionError) as e:
        raise CheckpointError(f"{path} is not readable JSON ({e}); fetch it again") from e
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path} holds a {type(values).__name__}, expected an object; fetch it again"
        )
    return values


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    kind = values.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(
            f"peft_type is {kind!r}, only 'LORA' adapters are supported; merge it into its model "
            "with peft's merge_and_unload and load that model"
        )
    if values.get("use_dora"):
        raise CheckpointError(
            "use_dora is true: DoRA scales the base weights, too, and is not supported; merge it "
            "into its model with peft's merge_and_unload and load that model"
        )
    if values.get("bias", "none") != "none":
        raise CheckpointError(
            f"bias is {values['bias']!r}, only adapters with 'none' are supported"
        )
    if values.get("init_lora_weights", True) not in _BEGINNINGS:
        raise CheckpointError(
            f"init_lora_weights is {values['init_lora_weights']!r}, which rewrites the base model; "
            "save with peft's path_initial_model_for_weight_conversion for a plain adapter"
        )
    known = {"peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern"}
    known |= {"alpha_pattern", "exclude_modules", "base_model_name_or_path", "use_dora", "bias"}
    known |= {"init_lora_weights"} | _WITHOUT_EFFECT
    for name in sorted(values.keys() - known):
        if values[name]:  # switched off is as good as not there
            raise CheckpointError(
                f"{CONFIG_FILE} sets {name} to {values[name]!r}, which is not supported; merge the "
                "adapter into its model with peft's merge_and_unload and load that model"
            )


def _matches(names: Names, name: str) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, name) is not None
    return any(name == end or name.endswith(f".{end}") for end in names)


def _by_pattern(patterns: Mapping[str, Any], name: str, default: Any) -> Any:
    found = (v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", name))
    return next(found, default)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(f"({pattern})")
    except (re.error, RecursionError, OverflowError) as e:
        raise CheckpointError(f"{pattern!r} is no pattern of module names: {e}") from e


def _names(values: Mapping[str, Any], name: str) -> Names | None:
    found = values.get(name)
    if found is None or isinstance(found, str):
        return found
    if not isinstance(found, list | tuple) or not all(isinstance(n, str) for n in found):
        raise CheckpointError(f"{name} is {found!r}, expected a pattern or a list of names")
    return tuple(found)


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name) or {}
    if not isinstance(found, dict):
        raise CheckpointError(f"{name} is {found!r}, expected an object of patterns")
    return found


def _text(values: Mapping[str, Any], name: str) -> str | None:
    found = values.get(name)
    if found is not None and not isinstance(found, str):
        raise CheckpointError(f"{name} is {found!r}, expected a text")
    return found


def _listed(names: Names | None) -> str | list[str] | None:
    return list(names) if isinstance(names, tuple) else names


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least

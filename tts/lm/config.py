"""Shapes of the transformers that language models are made of, and their names elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RopeKind = Literal["default", "linear", "llama3"]
#: `model_type` of Hugging Face's configs that have the shape of `TransformerConfig`.
FAMILIES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """How far positions turn queries and keys.

    Attributes:
        base: wavelengths grow from 2 pi to nearly 2 pi * base positions.
        kind: "default"; "linear", positions divided by `factor`; "llama3", only long wavelengths
            divided.
        factor: see `kind`.
        low_factor: of "llama3": waves that fit into `original` less often are divided wholly.
        high_factor: those that fit in more often not at all.
        original: positions that the model was first trained on.
    """

    base: float = 10_000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    low_factor: float = 1.0
    high_factor: float = 4.0
    original: int = 8192


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A pre-norm decoder of the shape of Llama, Qwen2 and Qwen3.

    Attributes:
        dim: width.
        ffn_dim: width inside of a feed-forward layer.
        layers: how many.
        heads: of attention.
        kv_heads: of keys and values, each for several heads.
        head_dim: channels of a head; dim / heads for 0.
        norm_eps: of the RMS norms.
        qkv_bias: Qwen2 has one.
        qk_norm: Qwen3 has one on each head's queries and keys.
        rope: positions.
        dropout: of what each layer adds; for training from nothing.

    Raises:
        ValueError: sizes that do not fit.
    """

    dim: int = 512
    ffn_dim: int = 1536
    layers: int = 8
    heads: int = 8
    kv_heads: int = 8
    head_dim: int = 0
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = True
    rope: RopeConfig = RopeConfig()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.dim, self.ffn_dim, self.layers, self.heads, self.kv_heads) < 1:
            raise ValueError(f"sizes must be positive: {self}")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} keys evenly")
        if self.head_dim == 0 and self.dim % self.heads:
            raise ValueError(f"a width of {self.dim} does not divide by {self.heads} heads")
        if self.head_size % 2:
            raise ValueError(f"heads of {self.head_size} channels have no pairs to turn")

    @property
    def head_size(self) -> int:
        """Channels of a head."""
        return self.head_dim or self.dim // self.heads

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "TransformerConfig":
        """Read a `config.json` of Hugging Face's.

        Raises:
            ValueError: another family, or what this transformer does not have.
        """
        family = config.get("model_type")
        if family not in FAMILIES:
            raise ValueError(
                f"a model of type {family!r} has another shape: expected {', '.join(FAMILIES)}"
            )
        if config.get("hidden_act", "silu") != "silu" or config.get("mlp_bias"):
            raise ValueError(f"a {family} with another feed-forward layer than SwiGLU")
        if config.get("use_sliding_window") or config.get("attention_bias"):
            raise ValueError(f"a {family} with sliding windows, or biases that its family lacks")
        heads = config["num_attention_heads"]
        return cls(
            dim=config["hidden_size"],
            ffn_dim=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or 0,
            norm_eps=config.get("rms_norm_eps", 1e-6),
            qkv_bias=family == "qwen2",
            qk_norm=family == "qwen3",
            rope=_rope(config),
        )

    def to_hf(self) -> dict[str, Any]:
        """Return the fields of such a file; the family is the one that has these layers."""
        if self.qk_norm and self.qkv_bias:
            raise ValueError("no family has both norms of queries and their biases")
        family = "qwen3" if self.qk_norm else "qwen2" if self.qkv_bias else "llama"
        return {
            "model_type": family,
            "hidden_size": self.dim,
            "intermediate_size": self.ffn_dim,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "rms_norm_eps": self.norm_eps,
            "hidden_act": "silu",
            "rope_parameters": _rope_fields(self.rope),
        }


def _rope(config: Mapping[str, Any]) -> RopeConfig:
    # Newer files have one section, older ones two fields.
    section = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    base = section.get("rope_theta", config.get("rope_theta", 10_000.0))
    kind = section.get("rope_type", section.get("type", "default"))
    if kind == "default":
        return RopeConfig(base)
    if kind == "linear":
        return RopeConfig(base, kind, section["factor"])
    if kind == "llama3":
        return RopeConfig(
            base,
            kind,
            section["factor"],
            section["low_freq_factor"],
            section["high_freq_factor"],
            section["original_max_position_embeddings"],
        )
    raise ValueError(f"positions of kind {kind!r}: expected default, linear or llama3")


def _rope_fields(rope: RopeConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"rope_type": rope.kind, "rope_theta": rope.base}
    if rope.kind != "default":
        fields["factor"] = rope.factor
    if rope.kind == "llama3":
        fields |= {
            "low_freq_factor": rope.low_factor,
            "high_freq_factor": rope.high_factor,
            "original_max_position_embeddings": rope.original,
        }
    return fields

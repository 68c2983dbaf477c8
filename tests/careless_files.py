"""Files as CarelessWhisper's training writes them, made from the table of their names."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from echoic.asr.whisper.config import WhisperConfig

RANK = 3
SIZES = WhisperConfig(
    vocab_size=51864,
    num_mel_bins=80,
    d_model=16,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=64,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=64,
)


def attention_shapes(name: str, width: int, rank: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("query", "key", "value", "out"):
        shapes[f"{name}.{part}.base_layer.weight"] = (width, width)
        if part != "key":
            shapes[f"{name}.{part}.base_layer.bias"] = (width,)
        shapes[f"{name}.{part}.lora_layer.lora_A"] = (width, rank)
        shapes[f"{name}.{part}.lora_layer.lora_B"] = (rank, width)
    return shapes


def block_shapes(name: str, width: int, rank: int, crossed: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for kind in ("attn", "cross_attn") if crossed else ("attn",):
        shapes |= attention_shapes(f"{name}.{kind}", width, rank)
    for norm in ("attn_ln", "mlp_ln", *(("cross_attn_ln",) if crossed else ())):
        shapes |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
    for part, out, inside in (("mlp.0", 4 * width, width), ("mlp.2", width, 4 * width)):
        shapes |= {f"{name}.{part}.weight": (out, inside), f"{name}.{part}.bias": (out,)}
    return shapes


def file_shapes(config: WhisperConfig = SIZES, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    """Written down by itself, not by the importer's own table."""
    d = config.d_model
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (d, config.num_mel_bins, 3),
        "encoder.conv1.bias": (d,),
        "encoder.conv2.weight": (d, d, 3),
        "encoder.conv2.bias": (d,),
        "encoder.positional_embedding": (config.max_source_positions, d),
        "encoder.ln_post.weight": (d,),
        "encoder.ln_post.bias": (d,),
        "decoder.positional_embedding": (config.max_target_positions, d),
        "decoder.token_embedding.weight": (config.vocab_size, d),
        "decoder.ln.weight": (d,),
        "decoder.ln.bias": (d,),
    }
    for i in range(config.encoder_layers):
        shapes |= block_shapes(f"encoder.blocks.{i}", d, rank, crossed=False)
    for i in range(config.decoder_layers):
        shapes |= block_shapes(f"decoder.blocks.{i}", d, rank, crossed=True)
    return shapes


def file_state(config: WhisperConfig = SIZES, rank: int = RANK) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = file_shapes(config, rank)
    return {name: torch.randn(shape, generator=generator) / 4 for name, shape in shapes.items()}


def file_dims(config: WhisperConfig = SIZES) -> dict[str, int]:
    return {
        "n_mels": config.num_mel_bins,
        "n_audio_ctx": config.max_source_positions,
        "n_audio_state": config.d_model,
        "n_audio_head": config.encoder_attention_heads,
        "n_audio_layer": config.encoder_layers,
        "n_vocab": config.vocab_size,
        "n_text_ctx": config.max_target_positions,
        "n_text_state": config.d_model,
        "n_text_head": config.decoder_attention_heads,
        "n_text_layer": config.decoder_layers,
    }


@contextmanager
def foreign_module() -> Iterator[type]:
    """A package of theirs that exists while the file is written, and at no other time."""
    names = ("careless_whisper_stream", "careless_whisper_stream.config")
    for name in names:
        sys.modules[name] = ModuleType(name)
    module = sys.modules[names[1]]
    kind = type("Config", (), {"__module__": names[1]})
    module.Config = kind  # type: ignore[attr-defined]
    try:
        yield kind
    finally:
        for name in names:
            del sys.modules[name]


def foreign_object(kind: type, values: Mapping[str, Any]) -> Any:
    found = kind()
    vars(found).update(values)
    return found


def write_file(
    path: Path,
    *,
    state: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
    cfg: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A file with `dims` and `cfg` as objects of classes that nobody here has."""
    settings = {"gran": 15, "rank": RANK, "extra_gran_blocks": 1} if cfg is None else cfg
    with foreign_module() as kind:
        content = {
            "dims": foreign_object(kind, file_dims() if dims is None else dims),
            "cfg": foreign_object(kind, settings),
            "state_dict": file_state() if state is None else state,
            **more,
        }
        torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path

"""Sizes at which a processor takes a step of a recipe in no time; rates and losses stay."""

from collections.abc import Mapping
from typing import Any

_BOOKS = {"dim": 16, "codebook_size": 8, "reservoir": 2, "warmup_steps": 0, "decay": 0.9}
_GENERATOR = {"block_kernels": [3], "block_dilations": [[1]]}

#: Of a speech tokenizer, whose model stays as it is.
TOKENIZER: dict[str, Any] = {"codebook_size": 8, "reservoir": 2, "warmup_steps": 0}

PARAFORMER: dict[str, Any] = {
    "encoder": {"dim": 16, "layers": 2, "heads": 2, "ffn_dim": 32, "kernel_size": 3},
    "decoder": {"layers": 1, "cross_layers": 1, "heads": 2, "ffn_dim": 32, "kernel_size": 3},
}

_SMALLEST = {"dim": 16, "ffn_dim": 32, "layers": 1, "heads": 2, "kv_heads": 2}
SPEECH: dict[str, Any] = {"backbone": _SMALLEST, "depth": _SMALLEST}
FLOW: dict[str, Any] = {"backbone": _SMALLEST, "condition_dim": 8, "speaker_dim": 0}
VOCODER: dict[str, Any] = {"width": 8, "blocks": 1}

#: Of an LLM from nothing that reads bytes.
UNIFIED: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "tie_word_embeddings": True,
}

#: By kind.
CODECS: dict[str, dict[str, Any]] = {
    "echocodec": {
        "width": 8,
        "encoder_outer": 1,
        "encoder_inner": 1,
        "decoder_inner": 1,
        "decoder_outer": 1,
        "quantizer": _BOOKS | {"num_layers": 4},
    },
    "hificodec": {
        "encoder_channels": 8,
        "norm_channels": 4,
        "generator": _GENERATOR | {"channels": 16},
        "quantizer": {"dim": 128, "codebook_size": 8},
    },
    "languagecodec": {
        "encoder_channels": 4,
        "lstm_layers": 1,
        "width": 8,
        "hidden": 8,
        "blocks": 1,
        "quantizer": _BOOKS,
    },
    "distilcodec": {
        "widths": [8, 16],
        "depths": [1, 1],
        "generator": _GENERATOR | {"channels": 32},
        "quantizer": _BOOKS,
    },
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "mpd": {"channels": [2, 4]},
    "msd": {"width": 1 / 128},
    "ms_stft": {"filters": 2, "n_ffts": [128]},
}


def merge(settings: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with sizes instead of theirs, section by section."""
    merged = dict(settings)
    for name, value in sizes.items():
        old = merged.get(name)
        section = isinstance(value, Mapping)
        merged[name] = merge(old if isinstance(old, Mapping) else {}, value) if section else value
    return merged

"""One set of weights in every rival's format, so that only the programs differ."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echoic.asr.whisper.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

# Hugging Face's names and OpenAI's; the first rule that fits a whole part of a name is taken.
_OPENAI_NAMES = (
    (r"^model\.", ""),
    (r"embed_positions\.weight$", "positional_embedding"),
    (r"embed_tokens", "token_embedding"),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
)


@dataclass(frozen=True, slots=True)
class Weights:
    """Where each format lies.

    Attributes:
        box: what our own loader is asked for.
        openai: a `.pt` file for openai-whisper.
        ct2_float32: a folder for faster-whisper.
        ct2_int8: the same, quantised by CTranslate2.
    """

    box: str
    openai: Path
    ct2_float32: Path
    ct2_int8: Path


def convert(model: str, folder: Path) -> Weights:
    """Write a model for every rival below `folder`; formats whose rival is missing are skipped."""
    checkpoint = load_checkpoint(model)
    weights = Weights(model, folder / "openai.pt", folder / "ct2-float32", folder / "ct2-int8")
    _write_openai(checkpoint, weights.openai)
    try:
        import ctranslate2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return weights
    save_checkpoint(checkpoint, folder / "hf")
    _write_ct2(folder / "hf", weights.ct2_float32, "float32")
    _write_ct2(folder / "hf", weights.ct2_int8, "int8")
    return weights


def openai_name(name: str) -> str:
    """Return OpenAI's name of one of Hugging Face's tensors."""
    for pattern, replacement in _OPENAI_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _write_openai(checkpoint: Checkpoint, path: Path) -> None:
    config = checkpoint.config
    dims = {
        "n_mels": config.num_mel_bins,
        "n_vocab": config.vocab_size,
        "n_audio_ctx": config.max_source_positions,
        "n_audio_state": config.d_model,
        "n_audio_head": config.encoder_attention_heads,
        "n_audio_layer": config.encoder_layers,
        "n_text_ctx": config.max_target_positions,
        "n_text_state": config.d_model,
        "n_text_head": config.decoder_attention_heads,
        "n_text_layer": config.decoder_layers,
    }
    state: dict[str, Tensor] = {openai_name(n): t for n, t in checkpoint.state.items()}
    torch.save({"dims": dims, "model_state_dict": state}, path)


def _write_ct2(source: Path, target: Path, quantization: str) -> None:
    from ctranslate2.converters import TransformersConverter  # pyright: ignore[reportMissingImports]

    logging.getLogger("transformers").setLevel(logging.ERROR)
    converter = TransformersConverter(str(source), copy_files=["tokenizer.json"])
    converter.convert(str(target), quantization=quantization)

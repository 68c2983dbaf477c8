"""Whisper folders small enough for tests: random weights, the boxed tokenizer."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from echoic.asr.whisper.box import BOX
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layout import ENCODER_POSITIONS, expected_shapes, sinusoids

SMALL = WhisperConfig(
    vocab_size=51864,
    num_mel_bins=80,
    d_model=16,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_layers=2,
    decoder_attention_heads=2,
    decoder_ffn_dim=24,
)


def random_state(config: WhisperConfig = SMALL, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = expected_shapes(config)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    state[ENCODER_POSITIONS] = sinusoids(config.max_source_positions, config.d_model).float()
    return state


def write_folder(
    folder: Path, state: dict[str, Tensor] | None = None, config: WhisperConfig = SMALL
) -> Path:
    """A Hugging Face folder without generation_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_state(config) if state is None else state
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    shutil.copy(BOX / "tiny.en" / "tokenizer.json", folder)
    return folder

"""Unified models with random weights that are fast, and sensitive to all they read."""

from typing import Any

import torch
from torch import Tensor

from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.build import build
from echoic.tts.unified.config import UnifiedSettings
from echoic.tts.unified.files import Unified
from echoic.tts.unified.sequences import Document, Segment
from echoic.tts.unified.training.example_file import Codes

FORM = FrameFormat(2, 8, 50.0)
CODES = Codes(FORM, "sha256:0")
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def settings(**changes: Any) -> UnifiedSettings:
    """A tiny LLM from nothing that reads bytes."""
    values: dict[str, Any] = {"architecture": LLAMA, "text": "bytes", "codebooks": False}
    return UnifiedSettings(**(values | changes))


def unified(seed: int = 0, **changes: Any) -> Unified:
    """A model whose scores are far apart, in evaluation mode."""
    made = build(settings(**changes), FORM, CODES.codec_hash, seed=seed)
    shake(made, seed)
    made.model.eval()
    return made


@torch.no_grad()
def shake(made: Unified, seed: int = 0) -> None:
    """Draw all weights anew, adapters too."""
    generator = torch.Generator().manual_seed(seed)
    for weight in made.model.parameters():
        if weight.dim() >= 2:
            weight.normal_(std=0.3, generator=generator)


def frames(count: int, seed: int = 0, form: FrameFormat = FORM) -> Tensor:
    """Random frames (count, Q)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(form.codebook_size, (count, form.num_codebooks), generator=generator)


def spoken(made: Unified, text: str, count: int, seed: int = 0) -> Document:
    """A text and its speech."""
    segments = [Segment(text), Segment(frames(count, seed), answer=True)]
    return made.sequencer.document(segments)

"""Speech language models with random weights that are fast, and sensitive to all they read."""

import torch
from torch import Tensor

from echoic.tts.lm import SpeechLM, SpeechLMConfig, TransformerConfig
from echoic.tts.tokens import FrameFormat

FORM = FrameFormat(4, 12, 50.0, num_groups=2)
BACKBONE = TransformerConfig(24, 48, 2, 4, 2)
DEPTH = TransformerConfig(16, 32, 1, 2, 2)
TEXT_SIZE = 20


def speech_lm(layout: str = "depth", text: str = "before", seed: int = 0) -> SpeechLM:
    """A model in evaluation mode whose scores are far apart."""
    config = SpeechLMConfig(
        FORM,
        TEXT_SIZE,
        layout=layout,  # pyright: ignore[reportArgumentType]
        text=text,  # pyright: ignore[reportArgumentType]
        backbone=BACKBONE,
        depth=DEPTH,
    )
    torch.manual_seed(seed)
    model = SpeechLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.normal_(std=0.5)
    return model


def text(length: int, seed: int = 0) -> Tensor:
    """Random ids (length,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(TEXT_SIZE, (length,), generator=generator)


def frames(count: int, seed: int = 0) -> Tensor:
    """Random frames (count, Q)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(FORM.codebook_size, (count, FORM.num_codebooks), generator=generator)

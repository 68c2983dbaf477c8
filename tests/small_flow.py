"""Flows and vocoders with random weights that are fast, and sensitive to all they hear."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from echoic.audio.features import MelConfig
from echoic.tts.flow import (
    FlowConfig,
    FlowDecoder,
    FlowModel,
    FlowSettings,
    FlowSpeech,
    MelDecoder,
    MelSpace,
    SolverConfig,
    Vocoder,
    VocoderConfig,
)
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.tokens import FrameFormat

FORM = FrameFormat(2, 12, 50.0)
MELS = MelSpace(MelConfig(sample_rate=1600, n_fft=64, hop_length=16, num_mels=6))
BACKBONE = TransformerConfig(16, 32, 2, 4, 2, qkv_bias=True, qk_norm=False)
SOLVER = SolverConfig(steps=2)


def flow_config(
    *,
    lookahead: int = 2,
    look_back: int | None = 6,
    chunks: Sequence[int] = (3, 5),
    whole: float = 0.3,
    speaker_dim: int = 0,
) -> FlowConfig:
    """Two spectra of six mels to a frame of two codes."""
    return FlowConfig(
        FORM,
        MELS,
        BACKBONE,
        condition_dim=8,
        lookahead=lookahead,
        look_back=look_back,
        chunks=tuple(chunks),
        whole=whole,
        speaker_dim=speaker_dim,
    )


@functools.cache
def flow_model(
    lookahead: int = 2, look_back: int | None = 6, speaker_dim: int = 0, seed: int = 0
) -> FlowModel:
    """A model in evaluation mode."""
    config = flow_config(lookahead=lookahead, look_back=look_back, speaker_dim=speaker_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FlowModel(config).eval().requires_grad_(False)
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.add_(0.15 * torch.randn_like(weight))
    return model


@functools.cache
def vocoder() -> Vocoder:
    """A vocoder in evaluation mode, which is not silent."""
    config = VocoderConfig(MELS, width=8, expansion=2, kernel_size=3, blocks=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Vocoder(config).eval().requires_grad_(False)
        for weight in made.parameters():
            if weight.dim() >= 2:
                weight.add_(0.2 * torch.randn_like(weight))
    return made


def mel_decoder(
    chunk: int = 3, *, lookahead: int = 2, look_back: int | None = 6, guidance: float = 0.7
) -> MelDecoder:
    """Codes to spectra."""
    return MelDecoder(flow_model(lookahead, look_back), SolverConfig(2, guidance), chunk)


def flow_decoder(chunk: int = 3) -> FlowDecoder:
    """Codes to sound."""
    return FlowDecoder(mel_decoder(chunk), vocoder())


def flow_speech(codec_hash: str = "sha256:0", chunk: int = 3) -> FlowSpeech:
    """Flow and vocoder together."""
    return FlowSpeech(flow_model(), vocoder(), FlowSettings(codec_hash, chunk, SOLVER))


def codes(frames: int, rows: int = 1, seed: int = 0) -> Tensor:
    """Random codes (rows, Q, frames)."""
    generator = torch.Generator().manual_seed(seed)
    size = (rows, FORM.num_codebooks, frames)
    return torch.randint(FORM.codebook_size, size, generator=generator)

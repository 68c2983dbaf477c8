"""The real recordings of tests/data, and Whisper tiny.en in transformers and in echoic."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig as TransformersGenerationConfig
from transformers import WhisperConfig as TransformersConfig
from transformers import WhisperForConditionalGeneration

from echoic.asr.whisper.checkpoint import Checkpoint, load_checkpoint
from echoic.asr.whisper.layout import ENCODER_POSITIONS
from echoic.asr.whisper.model import WhisperModel
from echoic.audio.io import load

DATA = Path(__file__).parent / "data"
PROMPTS = DATA / "prompts"
CPU = torch.device("cpu")


class Utterance(NamedTuple):
    """A recording: `wav` (N,) float32 at 16 kHz."""

    path: Path
    wav: Tensor
    text: str


@functools.cache
def utterances(folder: Path) -> tuple[Utterance, ...]:
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    paths = [folder / row["audio"] for row in rows]
    return tuple(
        Utterance(path, load(path).wav[0], row["text"])
        for path, row in zip(paths, rows, strict=True)
    )


def novel() -> tuple[Utterance, ...]:
    """Five read sentences, 3 to 7 s."""
    return utterances(DATA)


def fifty() -> tuple[Utterance, ...]:
    """The five sentences and 45 telephone prompts, at most 7.1 s."""
    return novel() + utterances(PROMPTS)


@functools.cache
def tiny_en_checkpoint() -> Checkpoint:
    return load_checkpoint("tiny.en")


def with_positions(checkpoint: Checkpoint, frames: int) -> Checkpoint:
    """The same model for windows of at most so many frames of 20 ms."""
    state = dict(checkpoint.state)
    state[ENCODER_POSITIONS] = state[ENCODER_POSITIONS][:frames]
    config = replace(checkpoint.config, max_source_positions=frames)
    return replace(checkpoint, config=config, state=state)


def inference_model(checkpoint: Checkpoint, dtype: str = "float32") -> WhisperModel:
    return WhisperModel.from_checkpoint(checkpoint).to_inference(device=CPU, dtype=dtype)


@functools.cache
def tiny_en(dtype: str = "float32") -> WhisperModel:
    return inference_model(tiny_en_checkpoint(), dtype)


def in_transformers(checkpoint: Checkpoint) -> WhisperForConditionalGeneration:
    """The same weights and token ids in transformers' model."""
    model = WhisperForConditionalGeneration(TransformersConfig(**checkpoint.config.to_dict()))
    result = model.load_state_dict(checkpoint.state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["proj_out.weight"], [])
    model.tie_weights()
    model.generation_config = TransformersGenerationConfig(**checkpoint.generation.to_dict())
    return model.eval()

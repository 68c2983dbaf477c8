"""Runs of `ParaformerTask` that last seconds: a model of few weights on telephone prompts."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from codec_runs import Losses, trainer
from speech_data import Utterance, fifty

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.labels import label_text
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.build import Statistics, write_statistics
from echoic.asr.paraformer.training.datamodule import ParaformerData
from echoic.asr.paraformer.training.effects import Effects
from echoic.asr.paraformer.training.optimization import OptimizerConfig
from echoic.asr.paraformer.training.plan import BatchConfig
from echoic.asr.paraformer.training.task import ParaformerTask
from echoic.audio.augment import Gain, Speed
from echoic.audio.data.manifest import Source

__all__ = ["Losses", "trainer"]

MODEL: dict[str, Any] = {
    "encoder": {"dim": 16, "layers": 2, "heads": 2, "ffn_dim": 32, "kernel_size": 3},
    "decoder": {"layers": 1, "cross_layers": 1, "heads": 2, "ffn_dim": 32, "kernel_size": 3},
    "objective": {"ctc": 0.3},
}


def short_ones(count: int = 6) -> list[Utterance]:
    """The shortest prompts of a second and more."""
    said = [u for u in fifty() if len(u.wav) > 16_000]
    return sorted(said, key=lambda u: len(u.wav))[:count]


def write_manifest(folder: Path, said: Sequence[Utterance] | None = None) -> Path:
    """A manifest of prompts; the first is of the split dev, the others of train."""
    path = folder / "manifest.jsonl"
    rows = [
        {
            "audio": os.path.relpath(u.path, folder),
            "text": u.text,
            "duration": round(len(u.wav) / 16_000, 3),
            "speaker": "one",
            "lang": "en",
            "split": "train" if number else "dev",
        }
        for number, u in enumerate(short_ones() if said is None else said)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_vocabulary(folder: Path, said: Sequence[Utterance] | None = None) -> Path:
    """A folder with the prompts' characters and the statistics of their features."""
    said = short_ones() if said is None else said
    folder.mkdir(parents=True, exist_ok=True)
    Tokenizer.of_characters(map(written, said)).save(folder)
    frames = torch.cat([Frontend()(u.wav[None])[0][0] for u in said])
    found = Statistics(frames.mean(0), frames.std(0))
    write_statistics(folder / "cmvn.json", found, FrontendConfig())
    return folder


def task(folder: Path, **changes: Any) -> ParaformerTask:
    """A task of the small model, with vocabulary and statistics in a folder."""
    values: dict[str, Any] = {
        "model": MODEL,
        "vocabulary": str(folder),
        "cmvn": str(folder / "cmvn.json"),
        "optimizer": OptimizerConfig(learning_rate=2e-3, warmup_steps=2),
        "ema_decay": 0.5,
    }
    torch.manual_seed(0)
    return ParaformerTask(**(values | changes))


def written(utterance: Utterance) -> str:
    """What a model is to write for an utterance."""
    return label_text(utterance.text, "words") or ""


def data(manifest: Path, vocabulary: Path, **changes: Any) -> ParaformerData:
    """Batches of about three prompts, whose speed and loudness change."""
    values: dict[str, Any] = {
        "train": [Source(str(manifest))],
        "vocabulary": str(vocabulary),
        "validation": [Source(str(manifest), split="dev")],
        "batches": BatchConfig(seconds=5.0),
        "augment": Effects(speed=Speed(probability=1.0), gain=Gain()),
        "cache": True,
    }
    return ParaformerData(**(values | changes))

"""Runs of `CodecTask` that last a second: a codec of a few weights on tones and noise."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from echoic.audio.data.manifest import Source
from echoic.audio.io import save
from echoic.codecs.losses import MelLossConfig
from echoic.codecs.training.crops import CropConfig
from echoic.codecs.training.datamodule import CodecData
from echoic.codecs.training.objective import AdversarialConfig, LossWeights
from echoic.codecs.training.optimization import OptimizerConfig
from echoic.codecs.training.task import CodecTask

RATE = 2000
MODEL: dict[str, Any] = {
    "kind": "echocodec",
    "sample_rate": RATE,
    "hop_length": 40,
    "n_fft": 80,
    "width": 8,
    "kernel_size": 3,
    "encoder_outer": 1,
    "encoder_inner": 1,
    "decoder_inner": 1,
    "decoder_outer": 1,
    "quantizer": {
        "dim": 4,
        "codebook_size": 8,
        "num_layers": 2,
        "reservoir": 2,
        "dropout": 0.0,
        "warmup_steps": 0,
    },
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "ms_stft": {"n_ffts": [64], "filters": 2},
    "mpd": {"periods": [2], "channels": [2, 4]},
}


def task(**changes: Any) -> CodecTask:
    """A task of the small codec against two small discriminators."""
    values: dict[str, Any] = {
        "model": MODEL,
        "weights": LossWeights(mel=5.0, complex=1.0, waveform=1.0),
        "mel": MelLossConfig((64, 256), (8, 20)),
        "n_ffts": (64, 128),
        "discriminators": DISCRIMINATORS,
        "adversarial": AdversarialConfig(reduction="mean", normalized=True),
        "optimizer": OptimizerConfig(learning_rate=2e-3, warmup_steps=2),
        "ema_decay": 0.9,
    }
    torch.manual_seed(0)
    return CodecTask(**(values | changes))


def tone(seconds: float, seed: int) -> Tensor:
    """A chord with some noise, (1, samples)."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    pitches = 100 + 400 * torch.rand(3, 1, generator=generator)
    chord = (2 * torch.pi * pitches * time).sin().sum(0) / 6
    return (chord + 0.05 * torch.randn(len(time), generator=generator))[None]


def write_tones(folder: Path, seconds: Sequence[float] = (1.0, 2.0, 0.3)) -> Path:
    """A folder of tones with its manifest, whose path is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, length in enumerate(seconds):
        save(folder / f"{number}.wav", tone(length, number), RATE)
        split = "dev" if number == 0 else "train"
        rows.append({"audio": f"{number}.wav", "duration": length, "split": split})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def data(manifest: Path, **changes: Any) -> CodecData:
    """Sounds of half a second of such a folder."""
    values: dict[str, Any] = {
        "train": [Source(str(manifest))],
        "sample_rate": RATE,
        "crops": CropConfig(seconds=0.5, batch_size=2),
        "validation": [Source(str(manifest), split="dev")],
        "validation_batches": 2,
        "cache": True,
    }
    return CodecData(**(values | changes))


class Losses(lightning.Callback):
    """What was logged at each step, by name."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        self.steps.append({k: float(v) for k, v in trainer.logged_metrics.items()})


def trainer(steps: int, *callbacks: lightning.Callback, **changes: Any) -> lightning.Trainer:
    """A trainer that says nothing and writes nothing of its own."""
    values: dict[str, Any] = {
        "max_steps": steps,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
        "log_every_n_steps": 1,
    }
    return lightning.Trainer(callbacks=list(callbacks), **(values | changes))

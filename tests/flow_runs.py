"""Runs of flows and vocoders that last a second: models of a few weights on tones and noise."""

import copy
from pathlib import Path
from typing import Any

import torch
from codec_runs import MODEL, RATE, Losses, trainer

from echoic.audio.data.manifest import Source
from echoic.codecs.codec import Codec
from echoic.codecs.losses import MelLossConfig
from echoic.codecs.training.build import build_codec
from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.flow.training.data import FlowBatches, FlowData
from echoic.tts.flow.training.learner import ModelLearner
from echoic.tts.flow.training.task import FlowTask
from echoic.tts.flow.training.vocoder_task import VocoderTask

MELS: dict[str, Any] = {
    "mel": {"sample_rate": RATE, "n_fft": 80, "hop_length": 20, "num_mels": 8},
    "mean": -3.0,
    "scale": 2.0,
}
FLOW: dict[str, Any] = {
    "mels": MELS,
    "backbone": {
        "dim": 32,
        "ffn_dim": 64,
        "layers": 2,
        "heads": 2,
        "kv_heads": 2,
        "qkv_bias": True,
        "qk_norm": False,
    },
    "condition_dim": 16,
    "lookahead": 1,
    "chunks": (5, 10),
}
OPTIMIZER = OptimizerConfig(learning_rate=5e-3, warmup_steps=2, betas=(0.9, 0.95))


def small_codec() -> Codec:
    """2 kHz, 50 frames of 2 codes a second; random, but what it gives is fixed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = build_codec(copy.deepcopy(MODEL)).eval()
        books = codec.quantizer.codebooks
        books.set_books(0.3 * torch.randn(books.books.shape))
    return codec


def save_codec(folder: Path) -> Path:
    """Return a folder with that codec."""
    small_codec().save_pretrained(folder)
    return folder


def flow_task(codec: Path, **changes: Any) -> FlowTask:
    """A task of some thousand weights."""
    values: dict[str, Any] = {
        "model": FLOW,
        "codec": str(codec),
        "optimizer": OPTIMIZER,
        "ema_decay": 0.9,
    }
    torch.manual_seed(0)
    return FlowTask(**(values | changes))


def flow_data(manifest: Path, **changes: Any) -> FlowData:
    """Batches of a few tones."""
    values: dict[str, Any] = {
        "train": [Source(str(manifest), split="train")],
        "validation": [Source(str(manifest), split="dev")],
        "sample_rate": RATE,
        "batches": FlowBatches(seconds=3.0, utterances=3, buckets=2),
        "cache": True,
    }
    return FlowData(**(values | changes))


def vocoder_task(**changes: Any) -> VocoderTask:
    """A task of some thousand weights."""
    values: dict[str, Any] = {
        "model": {"mels": MELS, "width": 16, "kernel_size": 3, "blocks": 1},
        "mel": MelLossConfig((64, 256), (8, 20)),
        "n_ffts": (64, 128),
        "optimizer": OPTIMIZER,
        "ema_decay": 0.9,
    }
    torch.manual_seed(0)
    return VocoderTask(**(values | changes))


def fit(task: ModelLearner[Any], source: Any, steps: int, **changes: Any) -> list[dict[str, float]]:
    """Train, and return what was logged at each step."""
    losses, callbacks = Losses(), changes.pop("callbacks", [])
    checkpoint = changes.pop("ckpt_path", None)
    runner = trainer(steps, losses, *callbacks, **changes)
    runner.fit(task, datamodule=source, ckpt_path=checkpoint)
    assert runner.global_step == steps
    return losses.steps

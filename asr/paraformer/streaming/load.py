"""From a name to a live Paraformer."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.reader import expected
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer


def load_recognizer(
    name_or_dir: str | Path,
    *,
    chunk_ms: float | None = None,
    device: torch.device,
    dtype: str = "auto",
    hotwords: str | None = None,
    ngram_weight: float | None = None,
) -> ParaformerRecognizer:
    """Load a live recogniser.

    Args:
        name_or_dir: a name in the box, a Hugging Face id, or a folder.
        chunk_ms: sound heard at once, rounded to whole stacked frames (60 ms); None for the cut
            that the model was trained on.
        device: where to compute.
        dtype: see `Paraformer.to_inference`.
        hotwords: words to expect, see `HotWords.parse`.
        ngram_weight: of n-grams beside the sound, 0 for none of them; None for the model's own.

    Raises:
        CheckpointError: no such model.
        ValueError: a model that does not stream, a chunk that is no stretch of time, a bonus of a
            hot word that is no number, or a weight below 0 or of n-grams that are not there.
    """
    model = Paraformer.from_pretrained(name_or_dir, ngram_weight=ngram_weight)
    model.to_inference(device=device, dtype=dtype)
    chunks = model.config.chunks or Chunks()
    if chunk_ms is not None:
        if not 0 < chunk_ms < math.inf:
            raise ValueError(f"chunk_ms is {chunk_ms}; it must be above 0, and finite")
        frames = round(chunk_ms / 1000 / model.config.frontend.frame_seconds)
        chunks = replace(chunks, stride=max(1, frames))
    live = LiveConfig(chunks, hotwords=expected(model, hotwords))
    return ParaformerRecognizer(model, live)

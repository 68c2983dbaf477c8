"""Small corpora of codes, and tasks that learn them in a second."""

from pathlib import Path
from typing import Any

from small_speech import FORM, frames, text

from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.text.alphabet import BYTES
from echoic.tts.training.coded import CodedWriter, CorpusSettings
from echoic.tts.training.data import CodedSource, SpeechBatches, SpeechData
from echoic.tts.training.task import SpeechTask

SETTINGS = CorpusSettings(FORM, "sha256:0", BYTES.to_config())
SMALL: dict[str, Any] = {
    "backbone": {"dim": 16, "ffn_dim": 32, "layers": 1, "heads": 2, "kv_heads": 2},
    "depth": {"dim": 8, "ffn_dim": 16, "layers": 1, "heads": 2, "kv_heads": 2},
}


def write_corpus(folder: Path, count: int = 12, settings: CorpusSettings = SETTINGS) -> Path:
    """Utterances of 10 to 60 frames; each fourth is of the split dev."""
    with CodedWriter(folder, settings) as writer:
        for number in range(count):
            length = 10 + 7 * number % 51
            writer.add(
                f"u{number}",
                f"text {number}",
                text(3 + number % 5, number).tolist(),
                frames(length, number),
                speaker="one",
                split="dev" if number % 4 == 3 else "train",
            )
    return folder


def data(folder: Path, **changes: Any) -> SpeechData:
    """Batches of a few seconds of such a corpus."""
    values: dict[str, Any] = {
        "train": [CodedSource(str(folder), "train")],
        "validation": [CodedSource(str(folder), "dev")],
        "batches": SpeechBatches(seconds=3.0, utterances=4, buckets=(2, 1)),
    }
    return SpeechData(**(values | changes))


def task(**changes: Any) -> SpeechTask:
    """A task of a model of a few thousand weights."""
    values: dict[str, Any] = {
        "model": SMALL,
        "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=2, betas=(0.9, 0.95)),
        "ema_decay": 0.9,
    }
    return SpeechTask(**(values | changes))

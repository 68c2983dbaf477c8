"""Word errors of the live model while it trains."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from speech_data import novel
from whisper_factory import write_folder

from echoic.asr.whisper.training import streaming_wer
from echoic.asr.whisper.training.lora import LoraSettings, lora_state
from echoic.asr.whisper.training.streaming_wer import StreamingWer, merged
from echoic.asr.whisper.training.task import CausalWhisperTask


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    rows = [{"audio": str(u.path), "text": u.text} for u in (novel()[4], novel()[3])]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


class Logger:
    def __init__(self) -> None:
        self.found: dict[int, dict[str, float]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.found[step] = metrics


def run(callback: StreamingWer, task: Any, steps: int, **fields: Any) -> Logger:
    """Call it after every batch of a run with two batches to a step."""
    logger = Logger()
    for batch in range(2, 2 * steps + 1):
        trainer = SimpleNamespace(
            global_step=batch // 2, is_global_zero=True, loggers=[logger], **fields
        )
        callback.on_train_batch_end(trainer, task, None, None, batch)
    return logger


def test_it_measures_every_so_many_steps_once(manifest: Path, monkeypatch) -> None:
    callback = StreamingWer(str(manifest), chunk_ms=[320, 1000], every_n_steps=3)
    calls: list[float] = []

    def streamed(_: StreamingWer, task: object, chunk_ms: float) -> float:
        calls.append(chunk_ms)
        return chunk_ms / 1000

    monkeypatch.setattr(StreamingWer, "streamed", streamed)
    monkeypatch.setattr(StreamingWer, "offline", lambda *_: 0.125)
    logger = run(callback, SimpleNamespace(base="tiny.en"), 7)
    expected = {"val/wer_320": 0.32, "val/wer_1000": 1.0, "val/wer_offline": 0.125}
    assert logger.found == {3: expected, 6: expected}
    assert calls == [320, 1000, 320, 1000]


def test_it_hears_with_the_model_that_is_trained(manifest: Path, tmp_path: Path) -> None:
    base = write_folder(tmp_path / "base")
    task = CausalWhisperTask(str(base), lora=LoraSettings(rank=2))
    for name, weight in task.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(generator=torch.Generator().manual_seed(1))
    plain, changed = merged(CausalWhisperTask(str(base))), merged(task)
    tokens = torch.tensor([[50257, 50362]])
    outputs = []
    for model in (plain, changed):
        with torch.inference_mode():
            cache = model.decoder.start(torch.ones(1, 9, 16), capacity=2)
            outputs.append(model.decoder(tokens, cache))
    assert not torch.allclose(*outputs, atol=1e-3)
    assert set(lora_state(task.model))  # what is being trained is left as it was
    task._trainer = SimpleNamespace(datamodule=None)  # pyright: ignore[reportAttributeAccessIssue]
    callback = StreamingWer(str(manifest), limit=1)
    rate = callback.streamed(task, 1000)
    assert rate > 0.5  # random weights


def test_the_offline_rate_is_that_of_the_base(manifest: Path) -> None:
    callback = StreamingWer(str(manifest), limit=1)
    assert len(callback._rows) == 1
    assert callback.offline("tiny.en") == 0.0


@pytest.mark.parametrize("line", ["{", "[]", '{"audio": "a.wav"}', "3"])
def test_a_line_that_is_none_is_named(line: str, manifest: Path) -> None:
    manifest.write_text(manifest.read_text().splitlines()[0] + f"\n{line}\n")
    with pytest.raises(ValueError, match=r"dev\.jsonl, line 2: not a JSON object with audio"):
        StreamingWer(str(manifest))
    assert len(streaming_wer._read(manifest, 1)) == 1

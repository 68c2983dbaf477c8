"""What validation shows: numbers, sounds and pictures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from codec_runs import RATE, data, task, tone, trainer, write_tones
from lightning.pytorch.loggers import TensorBoardLogger

from echoic.codecs.codec import Reconstruction
from echoic.codecs.quantize.quantizer import Quantized
from echoic.codecs.training.watch import Watch


def made(codes: torch.Tensor) -> Reconstruction:
    nothing = torch.zeros(())
    return Reconstruction(tone(0.5, 0), Quantized(nothing, codes, nothing, nothing))


def test_usage_is_counted_over_all_batches_and_begins_anew() -> None:
    watch = Watch(RATE, 4, sounds=0)
    for codes in ([[0, 0, 0, 0], [0, 1, 2, 3]], [[1, 1, 1, 1], [0, 1, 2, 3]]):
        watch.see(tone(0.5, 0), made(torch.tensor([codes])), None, 0)
    found = watch.usage()
    assert float(found["usage/0"]) == 0.5
    assert float(found["usage/1"]) == 1.0
    assert float(found["perplexity/0"]) == pytest.approx(2.0)
    assert float(found["val/perplexity"]) == pytest.approx(3.0)
    assert watch.usage() == {}


def test_si_sdr() -> None:
    wav = torch.cat([tone(1.0, 0), tone(1.0, 1)])
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    noise = noise - noise.mean(1, keepdim=True)
    centred = wav - wav.mean(1, keepdim=True)
    noise = (
        noise
        - (noise * centred).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True) * centred
    )
    noise = noise * centred.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True) / 10
    for gain in (1.0, 0.3):  # the scale does not count
        found = Watch(RATE, 4, 0).measure(gain * (wav + noise), wav)["si_sdr"]
        assert float(found) == pytest.approx(20.0, abs=0.01)


class Writer:
    """Stands for TensorBoard's."""

    def __init__(self) -> None:
        self.shown: dict[str, Any] = {}
        self.experiment = self

    def add_audio(self, name: str, wav: torch.Tensor, step: int, sample_rate: int) -> None:
        assert sample_rate == RATE
        self.shown[f"{name}@{step}"] = wav

    def add_image(self, name: str, picture: torch.Tensor, step: int, dataformats: str) -> None:
        assert dataformats == "HW"
        self.shown[f"{name}@{step}"] = picture


def test_originals_are_shown_once_and_reconstructions_each_time() -> None:
    watch, writer = Watch(RATE, 4, sounds=1), Writer()
    codes = torch.zeros(1, 2, 4, dtype=torch.int64)
    for step in (5, 9):
        for _ in range(2):  # of the second batch nothing is shown
            watch.see(tone(0.5, 1), made(codes), writer, step)
        watch.usage()
    assert sorted(writer.shown) == [
        "sound0/mel@5",
        "sound0/mel@9",
        "sound0/original@5",
        "sound0/ours@5",
        "sound0/ours@9",
    ]
    picture = writer.shown["sound0/mel@5"]
    assert picture.shape[0] == 160
    assert 0.0 <= float(picture.min()) < float(picture.max()) <= 1.0


def test_tensorboard_takes_it(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    changes = {"val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1}
    runner = trainer(2, logger=logger, default_root_dir=tmp_path, **changes)
    runner.fit(task(sounds=1), datamodule=data(write_tones(tmp_path / "tones")))
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    tags = events.Tags()
    assert {"train/total", "train/norm", "val/mel", "usage/1"} <= set(tags["scalars"])
    assert tags["images"] == ["sound0/mel"]
    assert sorted(tags["audio"]) == ["sound0/original", "sound0/ours"]

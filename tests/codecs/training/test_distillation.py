"""The student's second stage: it begins where the teacher ended, and the loss draws it there."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from codec_runs import RATE, data, tone, trainer, write_tones
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.losses import MelLossConfig
from echoic.codecs.registry import load_codec
from echoic.codecs.training.build import build_codec
from echoic.codecs.training.distillation import DistilledCodecTask
from echoic.codecs.training.objective import LossWeights
from echoic.codecs.training.optimization import OptimizerConfig

SHARED: dict[str, Any] = {
    "kind": "distilcodec",
    "mel": {"sample_rate": RATE, "hop_length": 20, "n_fft": 80, "num_mels": 8},
    "widths": [8, 12],
    "depths": [1, 1],
    "drop_path": 0.0,
    "layer_scale": 0.1,
    "generator": {
        "rates": [5, 4],
        "kernels": [9, 8],
        "channels": 8,
        "block_kernels": [3],
        "block_dilations": [[1]],
    },
}
BOOKS = {"dim": 12, "codebook_size": 8, "num_layers": 2, "num_groups": 2, "codebook_dim": None}
TEACHER = SHARED | {"quantizer": BOOKS}
STUDENT = SHARED | {"quantizer": {"dim": 12, "codebook_size": 16, "codebook_dim": 16, "decay": 0.9}}
# Of losses other than the teacher's there are next to none.
QUIET = LossWeights(mel=1e-6, adversarial=0.0, feature_matching=0.0, commitment=0.0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    codec = build_codec(TEACHER)
    with torch.no_grad():
        wav = torch.cat([tone(2.0, number) for number in range(4)])
        rows = codec.encoder(wav).transpose(1, 2).flatten(0, 1)
    codec.quantizer.codebooks.start(rows, None)
    folder = tmp_path_factory.mktemp("teacher")
    codec.save_pretrained(folder)
    return folder


def student(teacher: Path, **changes: Any) -> DistilledCodecTask:
    values: dict[str, Any] = {
        "model": STUDENT,
        "teacher": str(teacher),
        "weights": QUIET,
        "mel": MelLossConfig((64,), (8,)),
        "n_ffts": (64,),
        "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=0, schedule="constant"),
        "ema_decay": 0.0,
    }
    torch.manual_seed(0)
    return DistilledCodecTask(**(values | changes))


def latents(codec: Any, wav: Tensor) -> Tensor:
    with torch.no_grad():
        return codec.quantizer.decode(codec.encode(wav).codes)


def test_begins_with_the_teachers_encoder_and_decoder(teacher: Path) -> None:
    module, original = student(teacher), load_codec(teacher)
    wav = tone(0.5, 0)
    averaged = cast(Codec, module.average.codec)
    for codec in (module.codec.eval(), averaged):
        assert torch.allclose(codec.encoder(wav), original.encoder(wav), atol=1e-5)
    alone = student(teacher, inherited=False).codec.eval()
    assert not torch.allclose(alone.encoder(wav), original.encoder(wav), atol=1e-2)


def test_the_loss_draws_the_latents_to_the_teachers(teacher: Path, tmp_path: Path) -> None:
    sounds, original = torch.cat([tone(0.5, n) for n in range(3)]), load_codec(teacher)
    manifest = write_tones(tmp_path)

    def distance(weight: float) -> float:
        module = student(teacher, distillation=weight)
        trainer(40).fit(module, datamodule=data(manifest))
        target = latents(original, sounds)
        lost = latents(module.codec.eval(), sounds) - target
        return float(lost.square().mean() / target.square().mean())

    assert distance(1.0) < 0.4 * distance(0.0)


def test_the_teacher_neither_learns_nor_is_saved(teacher: Path, tmp_path: Path) -> None:
    module = student(teacher)
    before = load_codec(teacher).state_dict()
    runner = trainer(2, enable_checkpointing=True, default_root_dir=tmp_path)
    runner.fit(module, datamodule=data(write_tones(tmp_path)))
    (held,) = module._teacher
    assert [n for n, v in held.state_dict().items() if not torch.equal(before[n], v)] == []
    assert {id(p) for p in held.parameters()}.isdisjoint(id(p) for p in module.parameters())
    assert "train/distillation" in runner.logged_metrics


def test_the_ablation_does_not_even_hear_the_teacher(teacher: Path, tmp_path: Path) -> None:
    module = student(teacher, distillation=0.0)
    assert module._teacher == []
    runner = trainer(1)
    runner.fit(module, datamodule=data(write_tones(tmp_path)))
    assert "train/distillation" not in runner.logged_metrics


def test_a_teacher_that_does_not_fit_is_refused(teacher: Path) -> None:
    wide = STUDENT | {"widths": [8, 16], "quantizer": {"dim": 16, "codebook_size": 16}}
    with pytest.raises(ValueError, match=r"\(2000, 20, 16\), the teacher \(2000, 20, 12\)"):
        student(teacher, model=wide)
    with pytest.raises(ValueError, match="distillation is -1"):
        student(teacher, distillation=-1.0)

"""The task: what it updates, by what, and what a checkpoint brings back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from paraformer_runs import (
    MODEL,
    Losses,
    data,
    short_ones,
    task,
    trainer,
    write_manifest,
    write_vocabulary,
    written,
)
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.metrics import character_error_rate
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.training.chunked import ChunkedBatches
from echoic.asr.paraformer.training.export import model_of_runs
from echoic.asr.paraformer.training.imitation import Imitation
from echoic.asr.paraformer.training.objective import Glancing, Mwer, step_losses
from echoic.asr.paraformer.training.optimization import OptimizerConfig
from echoic.asr.paraformer.training.plan import BatchConfig
from echoic.asr.paraformer.training.task import ParaformerTask
from echoic.audio.augment import SpecAugment
from echoic.recipes.prepare.paraformer_box import main as make_box

STRIPS = SpecAugment(stacked=7, freq_width=20, time_width=5, time_share=0.3)
CTC_TOKENS = MODEL | {"predictor": {"kind": "ctc"}, "end_token": False}

CUTS = (Chunks(5, 10, 5), Chunks(5, 8, 4), Chunks(2, 4, 2))
# A memory that looks back alone.
STREAMING = MODEL | {"decoder": MODEL["decoder"] | {"shift": 1}}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    return write_vocabulary(tmp_path / "vocabulary")


def fit(module: ParaformerTask, manifest: Path, vocabulary: Path, steps: int, **changes: Any):
    losses = Losses()
    callbacks, checkpoint = changes.pop("callbacks", []), changes.pop("ckpt_path", None)
    options = changes.pop("data", {})
    runner = trainer(steps, losses, *callbacks, **changes)
    runner.fit(module, datamodule=data(manifest, vocabulary, **options), ckpt_path=checkpoint)
    assert runner.global_step == steps
    return losses.steps


def copies(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: torch.nn.Module) -> set[str]:
    return {k for k, v in module.state_dict().items() if not torch.equal(before[k], v)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec_augment": STRIPS, "consistency": 0.2, "glancing": Glancing(0.9, 0.1, 4)},
        {"model": STREAMING, "chunks": ChunkedBatches((Chunks(),), 1.0)},
        {"model": CTC_TOKENS},
        {"model": MODEL | {"objective": {"ctc": 0.3, "placing": 1.0}}},
        {"model": CTC_TOKENS | {"predictor": {"kind": "spikes"}}},
        {"model": MODEL | {"predictor": {"kind": "pif", "heads": 2}, "objective": {"ctc": 0.0}}},
    ],
    ids=["cif", "consistency", "chunks", "ctc", "placing", "spikes", "pif"],
)
def test_every_weight_moves(changes: dict[str, Any], manifest: Path, vocabulary: Path) -> None:
    module = task(vocabulary, **changes)
    assert module.average is not None
    before, mean = copies(module.model), copies(module.average.model)
    steps = fit(module, manifest, vocabulary, 3)
    weights = {name for name, _ in module.model.named_parameters()}
    assert changed(before, module.model) == weights, "statistics and filters stay"
    assert changed(mean, module.average.model) == weights
    assert ("train/consistency" in steps[0]) == ("consistency" in changes)
    assert ("train/ctc" in steps[0]) == module.model.config.has_ctc
    assert all(step["train/norm"] > 0 for step in steps)


class Scaled(MixedPrecision):
    """Scales losses as with float16, but computes in float32, which is faster on a CPU."""

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        yield


def test_a_loss_that_is_scaled_too_high_costs_a_step(manifest: Path, vocabulary: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=float("inf"))
    precision = Scaled("16-mixed", "cpu", scaler)
    module = task(vocabulary)
    before = copies(module.model)
    fit(module, manifest, vocabulary, 1, plugins=[precision])
    assert changed(before, module.model) == set()
    scaler.update(2.0**10)
    (step,) = fit(module, manifest, vocabulary, 1, plugins=[precision])
    assert changed(before, module.model)
    assert step["train/norm"] < 2.0**8, "as it is clipped, it is not scaled"


def test_the_parts_add_up(manifest: Path, vocabulary: Path) -> None:
    model = MODEL | {"objective": {"ctc": 0.3, "placing": 0.5}}
    options = {"spec_augment": STRIPS, "consistency": 0.5, "mwer": Mwer(weight=2.0)}
    module = task(vocabulary, model=model, **options)
    (step,) = fit(module, manifest, vocabulary, 1)
    parts = {"tokens": 0.7, "ctc": 0.3, "quantity": 1.0, "placing": 0.5}
    parts |= {"consistency": 0.15, "mwer": 2.0}
    expected = sum(weight * step[f"train/{name}"] for name, weight in parts.items())
    assert step["train/total"] == pytest.approx(expected, rel=1e-5)


def test_a_teacher_is_imitated_until_its_weight_is_gone(manifest: Path, vocabulary: Path) -> None:
    plain = fit(task(vocabulary), manifest, vocabulary, 4)
    module = task(vocabulary, imitation=Imitation(3, 5.0))
    assert module.imitator is not None
    before = module.imitator.projection.weight.clone()
    steps = fit(module, manifest, vocabulary, 4)
    far = [step["train/imitation"] for step in steps]
    assert len(set(far)) == 3, "the fourth is what the logger still shows of the third"
    assert far[2] == far[3]
    assert steps[0]["train/total"] == plain[0]["train/total"], "told apart from the others"
    assert steps[1]["train/total"] != plain[1]["train/total"]
    assert not torch.equal(module.imitator.projection.weight, before)


def test_all_parts_are_divided_alike(manifest: Path, vocabulary: Path) -> None:
    for per_token in (True, False):
        objective = {"ctc": 0.3, "per_token": per_token}
        module = task(vocabulary, model=MODEL | {"objective": objective})
        batch = next(iter(data(manifest, vocabulary).train_dataloader()))
        model = module.model.eval()
        features, lengths = model.frontend(batch.wav, batch.samples)
        given = lengths, batch.labels, batch.label_lengths
        done = model.teach(features, *given)
        own, found = model.losses(done, *given), step_losses(model, done, *given)
        assert own.ctc is not None
        assert found.ctc is not None
        divisor = batch.label_lengths.float().mean() if per_token else torch.ones(())
        assert float(found.ctc) == pytest.approx(float(own.ctc / divisor), rel=1e-5)
        assert found.tokens == own.tokens


def test_chunks_are_drawn_and_heard(manifest: Path, vocabulary: Path) -> None:
    drawn = [ChunkedBatches(CUTS).draw(f"0/{number}") for number in range(200)]
    assert drawn == [ChunkedBatches(CUTS).draw(f"0/{number}") for number in range(200)]
    assert 70 < drawn.count(None) < 130
    assert {cut for cut in drawn if cut is not None} == set(CUTS)
    with pytest.raises(ValueError, match="0 cuts: expected"):
        ChunkedBatches(())
    small = ChunkedBatches((Chunks(1, 2, 1, 1, 1),), 1.0)
    losses = [
        fit(task(vocabulary, model=STREAMING, chunks=chunks), manifest, vocabulary, 1)[0]
        for chunks in (None, small, small)
    ]
    assert losses[0]["train/total"] != losses[1]["train/total"] == losses[2]["train/total"]


def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(
    manifest: Path, vocabulary: Path
) -> None:
    def fresh() -> ParaformerTask:
        return task(
            vocabulary,
            model=STREAMING,
            chunks=ChunkedBatches(CUTS),
            spec_augment=STRIPS,
            consistency=0.2,
            glancing=Glancing(0.9, 0.1, 6),
        )

    folder = manifest.parent
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)
    whole = fresh()
    options = {"callbacks": [saver], "enable_checkpointing": True}
    # Validation between the steps must not change what comes after it.
    options |= {"val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1}
    expected = fit(whole, manifest, vocabulary, 7, **options)
    torch.manual_seed(1234)  # a new process has other numbers
    resumed = fresh()
    steps = fit(resumed, manifest, vocabulary, 7, ckpt_path=str(folder / "step=3.ckpt"))
    assert len(steps) == 4
    for ours, theirs in zip(steps, expected[3:], strict=True):
        assert ours == {k: v for k, v in theirs.items() if k.startswith("train/")}
    assert changed(copies(whole), resumed) == set()


def test_what_is_validated_is_the_average_heard_freely(manifest: Path, vocabulary: Path) -> None:
    module = task(vocabulary)
    runner = trainer(4, val_check_interval=4, check_val_every_n_epoch=None, limit_val_batches=1)
    source = data(manifest, vocabulary)
    runner.fit(module, datamodule=source)
    seen = {k: float(v) for k, v in runner.callback_metrics.items()}
    assert {"val/total", "val/accuracy", "val/ctc", "val/wer", "val/cer"} <= set(seen)
    said = short_ones(1)[0]
    heard = module.best.recognize(said.wav[None])[0].text
    assert module.best is not module.model
    rate = character_error_rate([written(said)], [heard]).rate
    assert seen["val/cer"] == pytest.approx(rate)


def test_from_a_recipe_to_what_was_said(
    manifest: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"dim": 64, "layers": 2, "ffn_dim": 128, "dropout": 0.0}
    small = {
        "encoder": sizes,
        "decoder": {"layers": 2, "cross_layers": 2, "ffn_dim": 128, "dropout": 0.0},
        "objective": {"ctc": 0.3},
    }
    rate = OptimizerConfig(learning_rate=4e-3, warmup_steps=10, schedule="cosine")
    module = task(vocabulary, model=small, optimizer=rate, ema_decay=0.8)
    folder = manifest.parent
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=5, save_top_k=-1)
    plain = {"augment": None, "batches": BatchConfig(seconds=60.0)}
    fit(
        module, manifest, vocabulary, 80,
        callbacks=[saver], enable_checkpointing=True, data=plain,
    )  # fmt: skip
    runs = [str(folder / f"step={step}.ckpt") for step in (75, 80)]
    notes = folder / "notes.md"
    notes.write_text("Six prompts, by heart.\n")
    for precision, most in (("float16", 0.02), ("int8", 0.2), ("float32", 1e-5)):
        box = folder / f"box-{precision}"
        words = [*runs, str(box), "--precision", precision, "--data", str(notes)]
        assert make_box([*words, "--description", "Parrot"]) == 0
        model = Paraformer.from_pretrained(box)
        for utterance in short_ones():
            said = model.tokenizer.decode(model.tokenizer.encode(written(utterance)))
            assert model.recognize(utterance.wav[None])[0].text == said
        mean = model_of_runs(runs)
        for (name, ours), theirs in zip(
            model.state_dict().items(), mean.state_dict().values(), strict=True
        ):
            assert (ours - theirs).abs().max() <= most, name
        card = (box / "README.md").read_text()
        assert "Six prompts" in card
        assert f"stored | {precision}" in card
    assert "M parameters, 0." in capsys.readouterr().out
    sizes_of = [(folder / f"box-{p}" / "model.safetensors").stat().st_size for p in
                ("float32", "float16", "int8")]  # fmt: skip
    assert sizes_of[0] > 1.8 * sizes_of[1] > 1.8 * 1.5 * sizes_of[2]


def test_runs_that_cannot_be_exported(
    tmp_path: Path, vocabulary: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_box([str(tmp_path / "none.ckpt"), str(tmp_path / "box")]) == 1
    assert "none.ckpt is not there; give a .ckpt file of a run" in capsys.readouterr().err
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    assert make_box([str(tmp_path / "text.ckpt"), str(tmp_path / "box")]) == 1
    assert "was refused: not a checkpoint" in capsys.readouterr().err
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert make_box([str(tmp_path / "other.ckpt"), str(tmp_path / "box")]) == 1
    assert "holds no Paraformer" in capsys.readouterr().err
    runs = []
    for name, model in (("one", MODEL), ("two", CTC_TOKENS)):
        saver = ModelCheckpoint(tmp_path, name, every_n_train_steps=1)
        module = task(vocabulary, model=model, ema_decay=0.0)
        fit(module, manifest, vocabulary, 1, callbacks=[saver], enable_checkpointing=True)
        runs.append(tmp_path / f"{name}.ckpt")
    with pytest.raises(CheckpointError, match="are of different models or vocabularies"):
        model_of_runs(runs)
    assert not model_of_runs(runs[:1]).training
    assert not (tmp_path / "box").exists()


def test_what_does_not_go_together_is_said(manifest: Path, vocabulary: Path) -> None:
    with pytest.raises(ValueError, match=r"consistency is 0\.2: it needs"):
        task(vocabulary, consistency=0.2)
    with pytest.raises(ValueError, match="mwer mixes no labels in"):
        task(vocabulary, mwer=Mwer(), glancing=Glancing(1, 0, 5))
    other = write_vocabulary(vocabulary.parent / "other", short_ones(1))
    with pytest.raises(ValueError, match="name the same folder in both"):
        fit(task(other), manifest, vocabulary, 1)
    cosine = task(vocabulary, optimizer=OptimizerConfig(schedule="cosine"))
    with pytest.raises(ValueError, match="say how many steps to take"):
        trainer(-1).fit(cosine, datamodule=data(manifest, vocabulary))


def test_an_encoder_that_rests_does_not_learn(manifest: Path, vocabulary: Path):
    def run(rest: int, steps: int) -> set[str]:
        config = OptimizerConfig(warmup_steps=1, schedule="constant", encoder_rest=rest)
        module = task(vocabulary, optimizer=config, ema_decay=0.0)
        before = copies(module.model)
        fit(module, manifest, vocabulary, steps)
        return changed(before, module.model)

    resting, awake = run(2, 2), run(2, 4)
    assert not any(name.startswith("encoder.") for name in resting)
    assert any(name.startswith("decoder.") for name in resting)
    assert {name for name in awake if name.startswith("encoder.blocks.0.")}

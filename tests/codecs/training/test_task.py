"""The task: what it updates, by what, and what a checkpoint brings back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from codec_runs import MODEL, RATE, Losses, data, task, tone, trainer, write_tones
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from echoic.codecs.codec import Reconstruction
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.errors import CodecError
from echoic.codecs.training.build import SETTINGS_KEY, build_codec, codec_of_run
from echoic.codecs.training.objective import AdversarialConfig, LossWeights
from echoic.codecs.training.optimization import OptimizerConfig
from echoic.codecs.training.task import CodecTask

DROPPING = MODEL | {"quantizer": MODEL["quantizer"] | {"dropout": 0.7}}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "tones")


def fit(module: CodecTask, manifest: Path, steps: int, **changes: Any) -> list[dict[str, float]]:
    losses = Losses()
    callbacks = changes.pop("callbacks", [])
    checkpoint = changes.pop("ckpt_path", None)
    runner = trainer(steps, losses, *callbacks, **changes)
    runner.fit(module, datamodule=data(manifest), ckpt_path=checkpoint)
    assert runner.global_step == steps
    return losses.steps


def copies(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: torch.nn.Module) -> set[str]:
    after = module.state_dict()
    same = (k for k in before if before[k].shape == after[k].shape)
    return {k for k in same if not torch.equal(before[k], after[k])}


def test_every_weight_of_codec_and_discriminators_is_in_an_optimizer() -> None:
    module = task()
    module.trainer = trainer(10)
    first, second = module.configure_optimizers()
    assert module.discriminators is not None
    for optimizer, part in ((first, module.codec), (second, module.discriminators)):
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in part.parameters())
        assert len(set(held)) == len(held)


def test_every_weight_moves(manifest: Path) -> None:
    module = task()
    assert module.discriminators is not None
    codec, judges = copies(module.codec), copies(module.discriminators)
    fit(module, manifest, 4)
    weights = {name for name, _ in module.codec.named_parameters()}
    assert weights <= changed(codec, module.codec)
    weights = {name for name, _ in module.discriminators.named_parameters()}
    assert weights <= changed(judges, module.discriminators)


def test_a_batch_is_one_step_and_discriminators_come_when_they_are_called(manifest: Path) -> None:
    game = AdversarialConfig(start_step=2, discriminator_every=2)
    steps = fit(task(adversarial=game), manifest, 6)
    assert ["train/discriminator" in step for step in steps[:2]] == [False, False]
    assert ["train/adversarial" in step for step in steps] == [False, False, *[True] * 4]
    told = [step.get("train/discriminator") for step in steps]
    assert told[2] == told[3] != told[4] == told[5]  # logged metrics stay until they change


def test_the_ramp_and_the_weights_count(manifest: Path) -> None:
    weights = LossWeights(mel=2.0, waveform=3.0, adversarial=4.0, feature_matching=5.0)
    game = AdversarialConfig(ramp_steps=4)
    (step,) = fit(task(weights=weights, adversarial=game), manifest, 1)
    parts = {"mel": 2.0, "waveform": 3.0, "adversarial": 1.0, "feature_matching": 1.25}
    parts |= {"commitment": 0.25, "codebook": 1.0}
    expected = sum(weight * step[f"train/{name}"] for name, weight in parts.items())
    assert step["train/total"] == pytest.approx(expected, rel=1e-5)


def test_without_discriminators_there_is_nothing_adversarial(manifest: Path) -> None:
    module = task(discriminators=None)
    (step,) = fit(module, manifest, 1)
    assert not {"train/adversarial", "train/discriminator"} & set(step)


@pytest.mark.parametrize("balance", [False, True])
def test_learns(manifest: Path, balance: bool) -> None:
    weights = LossWeights(mel=1.0, adversarial=0.05, feature_matching=0.1)
    optimizer = OptimizerConfig(learning_rate=1e-2, warmup_steps=2)
    module = task(weights=weights, balance=balance, optimizer=optimizer, ema_decay=0.5)
    sounds = torch.cat([tone(0.5, number) for number in range(4)])

    def distance() -> float:
        with torch.no_grad():
            return float(module.objective.mel(module.average.codec(sounds).wav, sounds))

    before = distance()
    fit(module, manifest, 36)
    assert distance() < 0.8 * before


def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(manifest: Path) -> None:
    def fresh() -> CodecTask:
        # The books start at step 3 from what the steps before kept, and layers drop at random.
        game = AdversarialConfig(start_step=2, discriminator_every=2, ramp_steps=4)
        model = DROPPING | {"quantizer": DROPPING["quantizer"] | {"reservoir": 25}}
        return task(model=model, adversarial=game, balance=True)

    folder = manifest.parent
    whole = fresh()
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)
    expected = fit(whole, manifest, 10, callbacks=[saver], enable_checkpointing=True)
    assert bool(whole.codec.quantizer.codebooks.initialized)
    for start in (3, 6):
        torch.manual_seed(1234)  # a new process has other numbers
        resumed = fresh()
        steps = fit(resumed, manifest, 10, ckpt_path=str(folder / f"step={start}.ckpt"))
        assert len(steps) == 10 - start
        for ours, theirs in zip(steps[1:], expected[start + 1 :], strict=True):
            assert ours == theirs
        assert changed(copies(whole), resumed) == set()


def test_what_is_validated_is_the_average(manifest: Path) -> None:
    module = task(ema_decay=0.5)
    runner = trainer(5, val_check_interval=5, check_val_every_n_epoch=None, limit_val_batches=2)
    runner.fit(module, datamodule=data(manifest))
    seen = {k: float(v) for k, v in runner.callback_metrics.items()}
    assert {"val/mel", "val/si_sdr", "val/usage", "perplexity/0", "usage/1"} <= set(seen)
    source = data(manifest)
    source.trainer = runner
    loader = source.val_dataloader()
    assert not isinstance(loader, list)
    with torch.no_grad():
        mels = [float(module.objective.mel(module.average.codec(x).wav, x)) for x in loader]
        other = [float(module.objective.mel(module.codec.eval()(x).wav, x)) for x in loader]
    assert seen["val/mel"] == pytest.approx(sum(mels) / len(mels), rel=1e-5)
    assert seen["val/mel"] != pytest.approx(sum(other) / len(other), rel=1e-5)
    assert not module.average.codec.training


def test_bfloat16_trains_close_to_float32(manifest: Path) -> None:
    plain = fit(task(), manifest, 3)
    half = fit(task(autocast="bfloat16"), manifest, 3)
    for ours, theirs in zip(half, plain, strict=True):
        assert ours["train/mel"] == pytest.approx(theirs["train/mel"], rel=0.05)
        assert ours["train/mel"] != theirs["train/mel"]


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    class Poisoned(CodecTask):
        def training_step(self, wav: Tensor, batch_idx: int) -> None:
            hook = next(self.codec.parameters()).register_hook(lambda g: g * float("nan"))
            super().training_step(wav, batch_idx)
            hook.remove()

    module = Poisoned(MODEL, n_ffts=(64,), optimizer=OptimizerConfig(warmup_steps=0))
    weights = dict(module.codec.named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    runner = trainer(2)
    sounds = torch.stack([tone(0.5, i)[0] for i in range(4)])
    loader = torch.utils.data.DataLoader(sounds, 2)  # pyright: ignore[reportArgumentType]
    runner.fit(module, loader)
    assert runner.global_step == 2
    assert all(torch.equal(before[name], weight) for name, weight in weights.items())


def test_starts_from_an_earlier_run_or_a_codec(manifest: Path, tmp_path: Path) -> None:
    module = task()
    runner = trainer(3, enable_checkpointing=True, default_root_dir=tmp_path)
    runner.fit(module, datamodule=data(manifest))
    path = tmp_path / "last.ckpt"
    runner.save_checkpoint(path)
    exported = codec_of_run(path)
    assert not exported.training
    assert changed(copies(module.average.codec), exported) == set()
    assert changed(copies(module.codec), codec_of_run(path, averaged=False)) == set()
    exported.save_pretrained(tmp_path / "codec")
    for source in (path, tmp_path / "codec"):
        again = task(init_from=str(source))
        wav = tone(0.5, 0)
        assert torch.equal(again.codec.eval()(wav).wav, exported(wav).wav)


def test_what_cannot_be_trained_is_said_in_one_line(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="model is 'echocode', expected one of"):
        task(model={"kind": "echocode"})
    with pytest.raises(CodecError, match="has no preset 'huge'"):
        task(model={"kind": "echocodec", "preset": "huge"})
    with pytest.raises(ValueError, match="unknown setting 'widht'"):
        task(model={"kind": "echocodec", "widht": 8})
    with pytest.raises(CodecError, match=r"none.ckpt is not there"):
        task(init_from=str(tmp_path / "none.ckpt"))
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CodecError, match=r"other.ckpt holds no codec"):
        task(init_from=str(tmp_path / "other.ckpt"))
    other = data(manifest, sample_rate=2 * RATE)
    with pytest.raises(ValueError, match=f"the data have {2 * RATE} Hz and the codec {RATE}"):
        trainer(1).fit(task(), datamodule=other)
    with pytest.raises(ValueError, match="batches have no end"):
        trainer(-1).fit(task(), datamodule=data(manifest))


def test_the_end_of_a_sound_can_be_left_out(manifest: Path) -> None:
    class Spike(CodecTask):
        def forward(self, wav: Tensor) -> Reconstruction:
            made = super().forward(wav)
            spike = torch.zeros_like(made.wav)
            spike[:, -10:] = 1e6
            return made._replace(wav=made.wav + spike)

    def first(**changes: Any) -> float:
        torch.manual_seed(0)
        module = Spike(MODEL, LossWeights(waveform=1.0), n_ffts=(64,), **changes)
        return fit(module, manifest, 1)[0]["train/waveform"]

    assert first() > 1e4
    assert first(ignore_end=10) < 10


def test_a_checkpoint_says_every_setting() -> None:
    """A preset may have other values tomorrow; what was trained has not."""
    module = CodecTask({"kind": "echocodec", "preset": "tiny_16k", "width": 16})
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    said = checkpoint[SETTINGS_KEY]
    assert "preset" not in said
    assert said["width"] == 16
    assert said["quantizer"]["num_layers"] == EchoCodecConfig.tiny_16k().quantizer.num_layers
    assert build_codec(said).config == module.codec.config

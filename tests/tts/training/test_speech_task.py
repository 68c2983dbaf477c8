"""Training of a speech language model: it learns, resumes, and becomes a folder that speaks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_runs import Losses, trainer
from coded_speech import SETTINGS, SMALL, data, task, write_corpus
from lightning.pytorch.callbacks import ModelCheckpoint

from echoic.tts.errors import TtsError
from echoic.tts.lm.files import load_speech_lm, read_config, save_speech_lm
from echoic.tts.text.alphabet import BYTES
from echoic.tts.training.data import CodedSource
from echoic.tts.training.export import model_of_run
from echoic.tts.training.task import SpeechTask


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


def fit(module: SpeechTask, folder: Path, steps: int, **changes: Any) -> list[dict[str, float]]:
    losses, callbacks = Losses(), changes.pop("callbacks", [])
    checkpoint = changes.pop("ckpt_path", None)
    runner = trainer(steps, losses, *callbacks, **changes)
    runner.fit(module, datamodule=data(folder), ckpt_path=checkpoint)
    assert runner.global_step == steps
    return losses.steps


@pytest.mark.parametrize("layout", ["depth", "delay"])
def test_it_learns(corpus: Path, layout: str) -> None:
    steps = fit(task(model=SMALL | {"layout": layout}), corpus, 60)
    first, last = (sum(s["train/total"] for s in part) for part in (steps[:5], steps[-5:]))
    assert last < 0.9 * first
    assert {"train/first", "train/rest", "train/accuracy", "train/norm"} <= set(steps[0])


def test_batches_have_all_utterances_of_their_split(corpus: Path) -> None:
    source = data(corpus)
    plan = source.plan()
    seen = [item.utterance for batch in plan.batches(0) for item in batch]
    assert sorted(seen) == list(range(9))
    assert max(len(batch) for batch in plan.batches(0)) > 1


def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(
    corpus: Path, tmp_path: Path
) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1)
    whole = task()
    expected = fit(whole, corpus, 8, callbacks=[saver], enable_checkpointing=True)
    torch.manual_seed(99)
    resumed = task()
    steps = fit(resumed, corpus, 8, ckpt_path=str(tmp_path / "step=3.ckpt"))
    assert steps == expected[3:]
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_validation_is_of_the_average_and_sees_each_utterance_once(corpus: Path) -> None:
    module = task()
    runner = trainer(4, val_check_interval=4, check_val_every_n_epoch=None, limit_val_batches=1.0)
    runner.fit(module, datamodule=data(corpus))
    found = {k: float(v) for k, v in runner.callback_metrics.items()}
    assert {"val/total", "val/first", "val/rest", "val/accuracy"} <= set(found)
    assert module.best is not module.model


def test_from_a_run_to_a_folder(corpus: Path, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "last", every_n_train_steps=4)
    module = task()
    fit(module, corpus, 4, callbacks=[saver], enable_checkpointing=True)
    trained = model_of_run(tmp_path / "last.ckpt")
    assert (trained.alphabet, trained.codec_hash) == (BYTES.to_config(), "sha256:0")
    for name, value in module.best.state_dict().items():
        assert torch.equal(trained.model.state_dict()[name], value)
    raw = model_of_run(tmp_path / "last.ckpt", averaged=False)
    assert not torch.equal(raw.model.heads, trained.model.heads)
    save_speech_lm(trained.model, tmp_path / "m", more={"alphabet": trained.alphabet})
    loaded = load_speech_lm(tmp_path / "m")
    assert loaded.config == trained.model.config
    assert torch.equal(loaded.heads, trained.model.heads)
    assert read_config(tmp_path / "m")["alphabet"] == BYTES.to_config()
    save_speech_lm(trained.model, tmp_path / "h", dtype=torch.float16)
    torch.testing.assert_close(
        load_speech_lm(tmp_path / "h").heads, loaded.heads, atol=1e-3, rtol=1e-3
    )
    steps = fit(task(init_from=str(tmp_path / "m"), ema_decay=0.0), corpus, 1)
    fresh = fit(task(ema_decay=0.0, seed=1), corpus, 1)
    assert steps[0]["train/total"] < fresh[0]["train/total"]


def test_models_that_cannot_be_loaded(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(TtsError, match="is no speech model"):
        load_speech_lm(tmp_path)
    module = task()
    fit(module, corpus, 1)
    folder = tmp_path / "m"
    save_speech_lm(module.model, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(TtsError, match="not there or damaged"):
        load_speech_lm(folder)
    with torch.no_grad():
        module.model.heads[0, 0] = torch.nan
    save_speech_lm(module.model, folder)
    with pytest.raises(TtsError, match="heads has NaN or infinite weights"):
        load_speech_lm(folder)
    config = (folder / "config.json").read_text()
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "config.json").write_text(config.replace('"text_size": 262', '"text_size": 261'))
    with pytest.raises(TtsError, match="do not belong together"):
        load_speech_lm(folder)
    (folder / "config.json").write_text(config.replace('"speech-lm"', '"paraformer"'))
    with pytest.raises(TtsError, match="another kind of model"):
        load_speech_lm(folder)
    with pytest.raises(TtsError, match=r"is not there: give a \.ckpt"):
        model_of_run(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(TtsError, match="holds no speech language model"):
        model_of_run(tmp_path / "other.ckpt")


def test_what_cannot_be_trained(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trainer\.max_steps is -1"):
        trainer(-1).fit(task(), datamodule=data(corpus))
    other = write_corpus(tmp_path / "o", settings=replace(SETTINGS, codec_hash="sha256:1"))
    both = [CodedSource(str(corpus)), CodedSource(str(other))]
    with pytest.raises(ValueError, match="are of different codecs or alphabets"):
        trainer(1).fit(task(), datamodule=data(corpus, train=both))
    with pytest.raises(ValueError, match="train is empty"):
        data(corpus, train=[])
    with pytest.raises(RuntimeError, match="fit it first"):
        _ = task().model

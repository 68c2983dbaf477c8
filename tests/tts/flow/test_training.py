"""Training of flows and vocoders: data, tasks, resumed runs, and folders that speak."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_runs import RATE, trainer, write_tones
from codec_runs import data as sounds
from flow_runs import (
    FLOW,
    fit,
    flow_data,
    flow_task,
    save_codec,
    small_codec,
    vocoder_task,
)
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save_file

from echoic.audio.data.manifest import Source
from echoic.audio.features import Mel
from echoic.audio.io import load
from echoic.codecs.errors import CodecError
from echoic.codecs.settings import build
from echoic.tts.errors import TtsError
from echoic.tts.flow import FlowConfig, FlowSettings, FlowSpeech
from echoic.tts.flow.coder import Coder
from echoic.tts.flow.speech import load_vocoder, save_flow, save_vocoder
from echoic.tts.flow.training.data import FlowBatches, FlowData, collate, spoken
from echoic.tts.flow.training.export import flow_of_run, vocoder_of_run
from echoic.tts.flow.training.vocoder_task import VocoderWeights

SECONDS = (0.7, 0.4, 0.9, 0.5, 1.1, 0.61)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("tones"), SECONDS)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_codec(tmp_path_factory.mktemp("codec"))


def flow_config(**changes: Any) -> FlowConfig:
    frames = {"num_codebooks": 2, "codebook_size": 8, "frame_rate": 50.0}
    return build(FlowConfig, {**FLOW, "frames": frames, **changes})


def test_codes_and_spectra_are_of_the_same_time() -> None:
    coder, config = Coder(small_codec(), flow_config()), flow_config()
    wav = torch.zeros(2, 810)
    wav[0] = torch.randn(810) / 4
    wav[1, :399] = torch.randn(399) / 4
    coded = coder(wav, torch.tensor([810, 399]))
    assert coded.lengths.tolist() == [21, 10]
    assert coded.codes.shape == (2, 2, 21)
    assert coded.mels.shape == (2, 42, 8)
    expected = small_codec().encode(wav[:1]).codes
    assert torch.equal(coded.codes[:1], expected)
    alone = coder(wav[1:, :399], torch.tensor([399]))
    assert torch.equal(coded.codes[1:, :, :10], alone.codes)
    torch.testing.assert_close(coded.mels[1:, :20], alone.mels)
    mels = (Mel(config.mels.mel)(wav[:1, :800]) - config.mels.mean) / config.mels.scale
    torch.testing.assert_close(coded.mels[:1, :38], mels[:, :38])
    prompt = coder.prompt(wav[1, :399])
    assert (prompt.codes.shape, prompt.mels.shape) == ((2, 10), (20, 8))


def test_spectra_may_have_another_rate_than_the_codec() -> None:
    mels = {"mel": FLOW["mels"]["mel"] | {"sample_rate": 3000, "hop_length": 30, "n_fft": 120}}
    coder = Coder(small_codec(), flow_config(mels=mels))
    coded = coder(torch.randn(1, 3010) / 4, torch.tensor([3010]))
    assert coded.codes.shape == (1, 2, 51)
    assert coded.mels.shape == (1, 102, 8)


def test_a_pass_has_each_recording_of_its_split_once(tones: Path) -> None:
    data = flow_data(tones)
    plan = data.plan()
    seen = [item.utterance for batch in plan.batches(0) for item in batch]
    assert sorted(seen) == list(range(5))
    loader = data.train_dataloader()
    first = [batch for batch, _ in zip(loader, range(4), strict=False)]
    again = [batch for batch, _ in zip(flow_data(tones).train_dataloader(), range(4), strict=False)]
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.wav, two.wav)
        assert one.speakers.shape == (len(one.wav), 0)
        for row, length in zip(one.wav, one.lengths.tolist(), strict=True):
            assert not row[length:].any()
    assert [batch.number for batch in first] == [0, 1, 2, 3]
    (val,) = list(data.val_dataloader())
    assert val.lengths.tolist() == [round(0.7 * RATE)]
    long = flow_data(tones, batches=FlowBatches(longest=0.65, buckets=1)).plan()
    assert sorted(i.utterance for b in long.batches(0) for i in b) == [0, 2, 4]
    with pytest.raises(ValueError, match=r"no recording of 0\.1 s or less: raise batches"):
        flow_data(tones, batches=FlowBatches(longest=0.1)).plan()


def test_speakers_have_vectors(tmp_path: Path, codec: Path) -> None:
    tones = write_tones(tmp_path / "tones", SECONDS)
    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["speaker"] = "ab"[number % 2]
    tones.write_text("".join(json.dumps(row) + "\n" for row in rows))
    vectors = {"a": torch.ones(3), "b": -torch.ones(3)}
    save_file(vectors, tmp_path / "speakers.safetensors")
    data = flow_data(tones, speakers=str(tmp_path / "speakers.safetensors"))
    data.check()
    bank = data.bank(data.train[0])
    batch = collate([bank], [(0, 0), (0, 1)], data.vectors, 0)
    assert torch.equal(batch.speakers, torch.stack([vectors["b"], vectors["a"]]))
    with pytest.raises(ValueError, match="vectors of 3 numbers and the model's speaker_dim is 0"):
        fit(flow_task(codec), data, 1)
    fit(flow_task(codec, model=FLOW | {"speaker_dim": 3}), data, 1)
    save_file({"a": torch.ones(3)}, tmp_path / "speakers.safetensors")
    with pytest.raises(ValueError, match="no vector for speaker 'b'"):
        flow_data(tones, speakers=str(tmp_path / "speakers.safetensors")).check()
    save_file({"a": torch.ones(3), "b": torch.ones(2)}, tmp_path / "speakers.safetensors")
    with pytest.raises(ValueError, match="expected vectors of one size"):
        flow_data(tones, speakers=str(tmp_path / "speakers.safetensors")).check()
    with pytest.raises(ValueError, match=r"none\.safetensors is not there"):
        flow_data(tones, speakers=str(tmp_path / "none.safetensors")).check()


def test_damaged_recordings_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tones = write_tones(tmp_path / "tones", SECONDS)
    (tones.parent / "1.wav").write_bytes(b"no sound")
    data = flow_data(tones, cache=False)
    bank = data.bank(data.train[0])
    with caplog.at_level(logging.WARNING):
        batch = collate([bank], [(0, 0), (0, 1)], {}, 0)
    assert len(batch.wav) == len(batch.speakers) == 1
    assert "1.wav" in caplog.text
    with pytest.raises(ValueError, match="all 1 recordings of a batch are damaged"):
        collate([bank], [(0, 0)], {}, 0)
    (tones.parent / "2.wav").unlink()
    with pytest.raises(ValueError, match=r"1 recordings of .* are not there, the first is"):
        data.check()
    folder = spoken(Source(str(tones.parent)))
    assert [r.speaker for r in folder] == [""] * 5


def test_a_flow_learns(tones: Path, codec: Path) -> None:
    task = flow_task(codec)
    steps = fit(task, flow_data(tones), 60)
    first, last = (sum(s["train/total"] for s in part) for part in (steps[:8], steps[-8:]))
    assert last < 0.7 * first
    assert {step["train/chunk"] for step in steps} == {0, 5, 10}
    assert not any("coder" in name for name in task.state_dict()), "the codec is not in it"


def test_a_vocoder_learns(tones: Path) -> None:
    task = vocoder_task()
    steps = fit(task, sounds(tones), 60)
    first, last = (sum(s["train/total"] for s in part) for part in (steps[:8], steps[-8:]))
    assert last < 0.7 * first
    assert {"train/mel", "train/complex", "train/norm"} <= set(steps[0])


@pytest.mark.parametrize("kind", ["flow", "vocoder"])
def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(
    kind: str, tones: Path, codec: Path, tmp_path: Path
) -> None:
    def make(**changes: Any) -> Any:
        if kind == "vocoder":
            return vocoder_task(**changes)
        dropout = FLOW | {"backbone": FLOW["backbone"] | {"dropout": 0.2}}
        return flow_task(codec, model=dropout, **changes)

    def source() -> Any:
        return flow_data(tones) if kind == "flow" else sounds(tones)

    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1)
    whole = make()
    expected = fit(whole, source(), 7, callbacks=[saver], enable_checkpointing=True)
    resumed = make()
    with torch.no_grad():
        for weight in resumed.parameters():
            weight.add_(1.0)
    torch.manual_seed(99)
    steps = fit(resumed, source(), 7, ckpt_path=str(tmp_path / "step=3.ckpt"))
    assert steps == expected[3:]
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_validation_is_of_the_average_and_the_same_each_time(tones: Path, codec: Path) -> None:
    task = flow_task(codec)
    runner = trainer(2, val_check_interval=1, check_val_every_n_epoch=None, limit_val_batches=1.0)
    runner.fit(task, datamodule=flow_data(tones))
    first = float(runner.callback_metrics["val/total"])
    runner = trainer(1, limit_val_batches=1.0)
    again = runner.validate(task, datamodule=flow_data(tones), verbose=False)[0]["val/total"]
    assert again == pytest.approx(first)
    assert task.best is not task.model
    assert flow_task(codec, ema_decay=0.0).best is not None


def test_from_runs_to_a_folder_that_speaks(tones: Path, codec: Path, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path / "f", "last", every_n_train_steps=3)
    task = flow_task(codec)
    fit(task, flow_data(tones), 3, callbacks=[saver], enable_checkpointing=True)
    trained = flow_of_run(tmp_path / "f" / "last.ckpt")
    for name, value in task.best.state_dict().items():
        assert torch.equal(trained.model.state_dict()[name], value)
    raw = flow_of_run(tmp_path / "f" / "last.ckpt", averaged=False)
    assert not torch.equal(raw.model.enter.weight, trained.model.enter.weight)
    saver = ModelCheckpoint(tmp_path / "v", "last", every_n_train_steps=3)
    fit(vocoder_task(), sounds(tones), 3, callbacks=[saver], enable_checkpointing=True)
    vocoder = vocoder_of_run(tmp_path / "v" / "last.ckpt")

    folder = tmp_path / "m"
    save_flow(trained.model, FlowSettings(trained.codec_hash, 5), folder)
    with pytest.raises(TtsError, match="make one with `echoic export runs/vocoder"):
        FlowSpeech.from_pretrained(folder)
    save_vocoder(vocoder, folder / "vocoder")
    speech = FlowSpeech.from_pretrained(folder)
    own = small_codec()
    speech.fits(own)
    wav = load(tones.parent / "2.wav").wav
    codes = own.encode(wav).codes
    decoder = speech.streaming_decoder(own.num_codebooks)
    found = decoder(codes)
    assert found.shape == (1, 45 * 40)
    assert bool(found.isfinite().all())
    speech.save_pretrained(tmp_path / "again", dtype=torch.float16)
    again = FlowSpeech.from_pretrained(tmp_path / "again")
    assert again.settings == speech.settings
    assert again.flow.config == speech.flow.config
    close = again.streaming_decoder()(codes)
    torch.testing.assert_close(close, found, atol=0.05 * float(found.abs().max()), rtol=0)


def test_folders_that_cannot_be_loaded(tones: Path, codec: Path, tmp_path: Path) -> None:
    vocoder, folder = vocoder_task().model, tmp_path / "v"
    with pytest.raises(TtsError, match="is no mel-vocoder"):
        load_vocoder(tmp_path)
    save_vocoder(vocoder, folder)
    whole, config = (
        (folder / "model.safetensors").read_bytes(),
        (folder / "config.json").read_text(),
    )
    (folder / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(TtsError, match="not there or damaged"):
        load_vocoder(folder)
    (folder / "model.safetensors").write_bytes(whole)
    for old, new, message in (
        ('"width": 16', '"width": 8', "do not belong together"),
        ('"width": 16', '"breadth": 16', "unknown setting vocoder.'breadth'"),
        ('"mel-vocoder"', '"flow-decoder"', "another kind of model"),
        ('"width": 16,', "", "do not belong together"),
        ("{", "", "cannot be read"),
    ):
        (folder / "config.json").write_text(config.replace(old, new, 1))
        with pytest.raises(TtsError, match=message):
            load_vocoder(folder)
    with torch.no_grad():
        next(vocoder.parameters()).fill_(torch.nan)
    save_vocoder(vocoder, folder)
    with pytest.raises(TtsError, match="has NaN or infinite weights"):
        load_vocoder(folder)
    with pytest.raises(TtsError, match=r"is not there: give a \.ckpt"):
        flow_of_run(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(TtsError, match="holds no vocoder: give a checkpoint of VocoderTask"):
        vocoder_of_run(tmp_path / "other.ckpt")
    mels = FLOW["mels"] | {"mean": 0.0}
    flow = flow_task(codec, model=FLOW | {"mels": mels}).model
    with pytest.raises(TtsError, match="train both with the same mels"):
        FlowSpeech(flow, vocoder_task().model, FlowSettings("sha256:0"))


def test_what_cannot_be_trained(tones: Path, codec: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="no codec 'none'"):
        flow_task(Path("none"))
    with pytest.raises(ValueError, match=r"unknown setting model\.'depth'"):
        flow_task(codec, model={"depth": 3})
    with pytest.raises(ValueError, match=r"trainer\.max_steps is -1"):
        trainer(-1).fit(flow_task(codec), datamodule=flow_data(tones))
    with pytest.raises(ValueError, match="the data have 1000 Hz and the model's spectra 2000"):
        trainer(1).fit(flow_task(codec), datamodule=flow_data(tones, sample_rate=1000))
    with pytest.raises(ValueError, match="the data have 1000 Hz and the model's spectra 2000"):
        trainer(1).fit(vocoder_task(), datamodule=sounds(tones, sample_rate=1000))
    with pytest.raises(ValueError, match="train is empty"):
        FlowData([])
    with pytest.raises(ValueError, match="expected more than 0"):
        FlowBatches(seconds=0.0)
    with pytest.raises(ValueError, match="one more than 0"):
        VocoderWeights(0.0, 0.0, 0.0)

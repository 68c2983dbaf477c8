"""Training sounds: what they are cut from, and that they can be had again."""

import json
import logging
from pathlib import Path

import pytest
import torch
from codec_runs import RATE, data, tone, write_tones
from torch.utils.data import DataLoader

from echoic.audio.data.manifest import Source
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.data.recordings import SoundBank, find_recordings
from echoic.audio.io import save
from echoic.codecs.training.crops import CropConfig, CropMaker

PLAIN = CropConfig(seconds=0.5, batch_size=4, gain_db=None)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "tones")


def bank(manifest: Path, cache: bool = True, rate: int = RATE) -> SoundBank:
    return SoundBank(find_recordings(Source(str(manifest))), rate, cache)


def maker(manifest: Path, config: CropConfig = PLAIN, seed: int = 0) -> CropMaker:
    return CropMaker([bank(manifest)], [1.0], config, seed)


def test_manifests_and_folders(manifest: Path) -> None:
    rows = find_recordings(Source(str(manifest), split="train"))
    assert [(r.path.name, r.duration) for r in rows] == [("1.wav", 2.0), ("2.wav", 0.3)]
    found = find_recordings(Source(str(manifest.parent)))
    assert [r.path.name for r in found] == ["0.wav", "1.wav", "2.wav"]


def test_what_is_wrong_with_a_source_is_said(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no recordings of split 'test'"):
        find_recordings(Source(str(manifest), split="test"))
    with pytest.raises(ValueError, match="is a folder, which has no split 'dev'"):
        find_recordings(Source(str(tmp_path), split="dev"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"audio": "a.wav"}\n{"path": "b.wav"}\n')
    with pytest.raises(ValueError, match=r"bad.jsonl, line 2: no 'audio' .*name the recording"):
        find_recordings(Source(str(bad)))
    bad.write_text('{"audio": "a.wav"}\n')
    with pytest.raises(ValueError, match=r"1 recordings of .* are not there, the first is"):
        data(bad, validation=None).check()
    with pytest.raises(ValueError, match="share of x is 0"):
        Source("x", share=0.0)


@pytest.mark.parametrize("cache", [True, False])
def test_stretches_are_the_recording(manifest: Path, cache: bool) -> None:
    sounds = bank(manifest, cache)
    expected = tone(2.0, 1)[0]
    assert torch.allclose(sounds.stretch(1, 500, 700), expected[500:1200], atol=1e-4)
    assert len(sounds.stretch(2, 0, 5000)) == sounds.lengths[2] == 600
    assert sounds.seconds == pytest.approx(3.3)


def test_other_rates_are_resampled(manifest: Path) -> None:
    assert bank(manifest, rate=2 * RATE).lengths == [4000, 8000, 1200]


def test_long_recordings_are_met_more_often(manifest: Path) -> None:
    sounds = bank(manifest)
    met = [sounds.at(i / 1000) for i in range(1000)]
    assert [met.count(i) / 1000 for i in range(3)] == pytest.approx(
        [1 / 3.3, 2 / 3.3, 0.3 / 3.3], abs=2e-3
    )
    assert sounds.at(1.0) == 2


def test_a_short_recording_is_repeated(tmp_path: Path) -> None:
    (batch, *_) = (maker(write_tones(tmp_path / "short", [0.2]))(0),)
    assert batch.shape == (4, 1000)
    assert torch.equal(batch[:, :400], batch[:, 400:800])


def test_batch_n_is_the_same_again_and_others_are_not(manifest: Path) -> None:
    first, again = maker(manifest), maker(manifest)
    assert torch.equal(first(7), again(7))
    assert not torch.equal(first(7), first(8))
    assert not torch.equal(first(7), maker(manifest, seed=1)(7))
    assert len({float(row.sum()) for row in first(7)}) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_streams_go_on_where_they_stopped_and_share_batches(manifest: Path, workers: int) -> None:
    make = maker(manifest)
    stream = NumberedBatches(make, start=3, processes=2, rank=1, stop=7)
    got = list(DataLoader(stream, batch_size=None, num_workers=workers))
    assert len(got) == 4
    for batch, number in zip(got, (7, 9, 11, 13), strict=True):
        assert torch.equal(batch, make(number))


def test_levels(manifest: Path) -> None:
    config = CropConfig(0.5, 8, peak_db=(-6.0, -6.0), gain_db=None)
    peaks = maker(manifest, config)(0).abs().amax(1)
    assert torch.allclose(peaks, torch.full((8,), 10 ** (-6 / 20)), atol=1e-4)
    softer = maker(manifest, CropConfig(0.5, 4, gain_db=(-20.0, -20.0)))(0)
    assert torch.allclose(softer, maker(manifest)(0) / 10, atol=1e-6)


def test_mixing_adds_another_sound_so_much_softer(manifest: Path) -> None:
    config = CropConfig(0.5, 4, gain_db=None, mix_probability=1.0, mix_snr_db=(20.0, 20.0))
    plain, mixed = maker(manifest)(0), maker(manifest, config)(0)
    ratio = (mixed - plain).square().mean(1) / plain.square().mean(1)
    assert torch.allclose(ratio, torch.full((4,), 0.01), rtol=0.4)
    assert float(maker(manifest, config)(1).abs().max()) <= 1.0


def test_silence_is_thrown_back(tmp_path: Path) -> None:
    half = torch.cat([torch.zeros(1, 6000), tone(3.0, 0)], dim=1)
    save(tmp_path / "half.wav", half, RATE)
    sounds = [SoundBank(find_recordings(Source(str(tmp_path))), RATE, True)]

    def silent(tries: int) -> int:
        make = CropMaker(sounds, [1.0], CropConfig(0.5, 40, gain_db=None, silence_tries=tries))
        return int((make(0).abs().amax(1) == 0).sum())

    assert silent(0) > 10
    assert silent(5) <= 2


def test_damaged_recordings_are_left_out_with_a_warning(
    manifest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (manifest.parent / "1.wav").write_bytes(b"not sound")
    with caplog.at_level(logging.WARNING):
        assert bank(manifest).lengths == [2000, 600]
    assert "left out of training" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        make = CropMaker([bank(manifest, cache=False)], [1.0], PLAIN)
        assert make(0).shape == (4, 1000)
    assert "another sound is taken" in caplog.text
    for number in (0, 2):
        (manifest.parent / f"{number}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match="none of 3 recordings could be read"):
        bank(manifest)
    with pytest.raises(ValueError, match="10 damaged recordings"):
        make(1)


def test_shares_of_sources(tmp_path: Path) -> None:
    for name, level in (("a", 0.1), ("b", 0.9)):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "x.wav", torch.full((1, 4000), level), RATE)
    module = data(
        tmp_path / "a",
        train=[Source(str(tmp_path / "a"), share=3.0), Source(str(tmp_path / "b"))],
        crops=CropConfig(0.1, 400, gain_db=None),
    )
    (batch,) = (next(iter(module.train_dataloader())),)
    assert float((batch.mean(1) < 0.5).float().mean()) == pytest.approx(0.75, abs=0.07)


def test_durations_are_looked_up_where_the_manifest_has_none(manifest: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps({"audio": r["audio"]}) + "\n" for r in rows))
    assert bank(manifest, cache=False).lengths == [2000, 4000, 600]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="seconds 0"):
        CropConfig(seconds=0)
    with pytest.raises(ValueError, match="mix_probability is 2"):
        CropConfig(mix_probability=2)
    with pytest.raises(ValueError, match="train is empty"):
        data(Path("x"), train=[])

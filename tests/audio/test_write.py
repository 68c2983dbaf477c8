import os
import resource
from pathlib import Path

import pytest
import soundfile as sf
import torch

from echoic.audio import write
from echoic.audio.io import AudioWarning, info, load, save


def noise(channels: int = 2, samples: int = 24000, peak: float = 0.9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(channels, samples, generator=generator) * 2 - 1) * peak


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_pcm_survives_bit_by_bit(tmp_path: Path, suffix: str, subtype: str) -> None:
    path, again = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    save(path, noise(), 44100, subtype=subtype)
    wav, rate = load(path)
    assert (wav - noise()).abs().max() <= 0.5 / 2 ** (15 if subtype == "PCM_16" else 23) + 1e-7
    save(again, wav, rate, subtype=subtype)
    assert torch.equal(load(again).wav, wav)
    assert info(path).subtype == subtype


def test_full_scale_steps(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", torch.tensor([1.0, -1.0, 0.5]), 8000)
    assert sf.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [32767, -32768, 16384]


def test_float_keeps_everything(tmp_path: Path) -> None:
    loud = noise(3, 500, peak=3.0)
    save(tmp_path / "a.wav", loud, 16000, subtype="float")
    assert torch.equal(load(tmp_path / "a.wav").wav, loud)


@pytest.mark.parametrize("suffix", ["ogg", "opus", "mp3"])
def test_lossy_formats_keep_length_and_sound(tmp_path: Path, suffix: str) -> None:
    t = torch.arange(48000 * 3, dtype=torch.float64) / 48000
    tone = (0.3 * torch.sin(2 * torch.pi * 440 * t)).float()
    path = tmp_path / f"a.{suffix}"
    save(path, tone, 48000)
    wav = load(path).wav
    assert abs(wav.shape[1] - len(tone)) <= 1
    n = min(wav.shape[1], len(tone)) - 5000
    assert (wav[0, 5000:n] - tone[5000:n]).abs().max() < 0.03


def test_clipping_is_told_and_done(tmp_path: Path) -> None:
    wav = torch.tensor([0.5, 1.5, -2.0, 1.0])
    with pytest.warns(AudioWarning, match=r"clipped 2 samples .*peak 2\)"):
        save(tmp_path / "a.wav", wav, 16000)
    assert load(tmp_path / "a.wav").wav[0].tolist() == [0.5, 32767 / 32768, -1.0, 32767 / 32768]


def test_nothing_is_left_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    save(path, noise(), 16000)
    before = path.read_bytes()

    def fails(source: object, target: object) -> None:
        assert Path(str(source)).stat().st_size > 1000  # complete before it is moved
        raise OSError("disk is gone")

    monkeypatch.setattr(write.os, "replace", fails)
    with pytest.raises(OSError, match="disk is gone"):
        save(path, noise(1), 8000)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.wav"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    for name, arguments, said in (
        ("a.xyz", {}, r"cannot write '\.xyz'; choose of \.wav"),
        ("a", {}, "no suffix"),
        ("a.flac", {"subtype": "FLOAT"}, "FLAC cannot hold FLOAT; choose of PCM"),
        ("a.opus", {"sample_rate": 44100}, "cannot write 2 channels at 44100 Hz as OGG/OPUS"),
        ("a.mp3", {"sample_rate": 100000}, "cannot write 2 channels at 100000 Hz as MP3"),
        ("a.wav", {"wav": torch.zeros(2, 2, 2)}, r"shape \(2, 2, 2\)"),
        ("a.wav", {"wav": torch.zeros(1, 0)}, r"T > 0"),
        ("a.wav", {"wav": torch.zeros(9, dtype=torch.int16)}, "int16; give float"),
        ("a.wav", {"wav": torch.tensor([0.0, float("nan")])}, "sample 1 is NaN or infinite"),
    ):
        settings = {"wav": noise(), "sample_rate": 16000, **arguments}
        with pytest.raises(ValueError, match=said) as caught:
            save(tmp_path / name, **settings)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "no folder" / "a.wav", noise(), 16000)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_blocks_make_the_same_file(tmp_path: Path, suffix: str) -> None:
    whole, parts = tmp_path / f"whole.{suffix}", tmp_path / f"parts.{suffix}"
    save(whole, noise(), 16000)
    with write.SoundWriter(parts, 16000, 2) as writer:
        for part in noise().split([0, 1, 7000, 16999], dim=1):
            writer.write(part)
            assert not parts.exists()
    # Vorbis chooses its windows by what it is given at once.
    tolerance = 0.5 if suffix == "ogg" else 0.0
    torch.testing.assert_close(load(parts).wav, load(whole).wav, rtol=0, atol=tolerance)


def test_blocks_are_discarded_where_an_error_ends_them(tmp_path: Path) -> None:
    def fails() -> None:
        with write.SoundWriter(tmp_path / "a.wav", 16000, 2) as writer:
            writer.write(noise())
            assert len(os.listdir(tmp_path)) == 1
            raise RuntimeError("no more sound")

    with pytest.raises(RuntimeError, match="no more sound"):
        fails()
    assert os.listdir(tmp_path) == []


def test_blocks_are_checked_and_clipped_as_one_signal(tmp_path: Path) -> None:
    writer = write.SoundWriter(tmp_path / "a.wav", 16000, 1)
    writer.write(torch.tensor([[0.0, 2.0]]))
    writer.write(torch.tensor([5.0, -3.0]))
    with pytest.raises(ValueError, match="got 2 channels; give 1"):
        writer.write(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="sample 5 is NaN"):
        writer.write(torch.tensor([0.0, float("nan")]))
    with pytest.warns(AudioWarning, match=r"clipped 3 samples .*peak 5\)") as told:
        writer.close()
    assert len(told) == 1


def test_no_sample_is_a_file_without_samples(tmp_path: Path) -> None:
    write.SoundWriter(tmp_path / "a.wav", 16000, 8).close()
    assert sf.info(tmp_path / "a.wav").frames == 0


def test_wav_that_needs_longer_sizes_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_LARGEST_WAV", 4 * 500)
    for samples, kind in ((500, "WAV"), (501, "RF64")):
        save(tmp_path / "a.wav", noise(2, samples), 16000)
        assert info(tmp_path / "a.wav").format == kind
        assert load(tmp_path / "a.wav").wav.shape == (2, samples)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".opus"])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    wav = 0.1 * torch.randn(1, 16000 * 120, generator=torch.Generator().manual_seed(0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(OSError, match=f"a{suffix}: File too large; free some space"):
            save(tmp_path / f"a{suffix}", wav, 16000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == "", "soundfile's callbacks print what is raised in them"

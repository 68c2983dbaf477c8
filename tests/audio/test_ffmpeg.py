"""Formats that libsndfile lacks; needs an ffmpeg (on PATH or the wheel imageio-ffmpeg)."""

import io
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from echoic.audio import ffmpeg
from echoic.audio.io import AudioDecodeError, AudioWarning, blocks, info, load, save

PROGRAM = ffmpeg.find_ffmpeg()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no ffmpeg and no imageio-ffmpeg here")
SUFFIXES = ["m4a", "mp4", "webm", "mkv", "aac", "wma"]


def tone(seconds: float = 1.0, rate: int = 48000) -> torch.Tensor:
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    left, right = torch.sin(2 * torch.pi * 440 * t), torch.sin(2 * torch.pi * 660 * t)
    return (0.4 * torch.stack([left, right])).float()


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoded")
    save(folder / "tone.wav", tone(), 48000)
    save(folder / "long.wav", tone(20), 48000)
    for source, suffix in [*(("tone", s) for s in SUFFIXES), ("long", "m4a"), ("long", "mkv")]:
        target = str(folder / f"{source}.{suffix}")
        command = [PROGRAM, "-v", "error", "-i", str(folder / f"{source}.wav"), target]
        subprocess.run([str(part) for part in command], check=True)
    return folder


def children() -> int:
    """Processes that we have started and not yet reaped, zombies among them."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return len(path.read_text().split()) if path.exists() else 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_decodes(encoded: Path, suffix: str) -> None:
    before = children()
    path = encoded / f"tone.{suffix}"
    wav, rate = load(path)
    assert (rate, wav.shape[0]) == (48000, 2)
    assert wav.shape[1] == pytest.approx(48000, abs=3000)
    middle = wav[0, 20000:30000].double()
    spectrum = torch.fft.rfft(middle * torch.hann_window(10000, dtype=torch.float64)).abs()
    assert int(spectrum.argmax()) * 4.8 == pytest.approx(440, abs=5)
    assert float(middle.square().mean().sqrt()) == pytest.approx(0.4 / 2**0.5, rel=0.1)
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert torch.equal(load(source).wav, wav)
        joined = torch.cat(list(blocks(source, seconds=0.1, sample_rate=16000, mono=True)), dim=1)
        whole = load(source, sample_rate=16000, mono=True).wav
        assert joined.shape == whole.shape
        assert (joined - whole).abs().max() < 1e-5
    assert torch.equal(load(path, offset=0.5, duration=0.1).wav, wav[:, 24000:28800])
    assert children() == before


def test_info(encoded: Path) -> None:
    told = info(encoded / "tone.m4a")
    assert (told.sample_rate, told.channels, told.num_frames) == (48000, 2, None)
    assert "mp4" in told.format
    assert told.duration == pytest.approx(1.0, abs=0.05)


def test_left_early_the_process_ends(encoded: Path) -> None:
    before = children()
    stream = blocks(encoded / "long.m4a", seconds=0.1)
    assert next(stream).shape == (2, 4800)
    if sys.platform == "linux":
        assert children() == before + 1
    stream.close()
    assert children() == before


def test_no_temporary_file_stays(
    encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load((encoded / "tone.m4a").read_bytes())
    next(stream := blocks((encoded / "long.m4a").read_bytes(), seconds=0.1))
    assert os.listdir(tmp_path)
    stream.close()
    with pytest.raises(AudioDecodeError):
        load(b"\0\0\0\x20ftypM4A " + bytes(200))
    assert os.listdir(tmp_path) == []


def test_cut_files(encoded: Path) -> None:
    mkv = (encoded / "long.mkv").read_bytes()
    with pytest.warns(AudioWarning, match="damaged or cut"):
        wav = load(mkv[: len(mkv) // 2]).wav
    assert 48000 * 6 < wav.shape[1] < 48000 * 14
    with pytest.raises(AudioDecodeError, match="File ended prematurely"):
        load(mkv[:1500])
    m4a = (encoded / "tone.m4a").read_bytes()
    with pytest.raises(
        AudioDecodeError, match=r"that ffmpeg can read \(moov atom not found\)"
    ) as e:
        load(m4a[: len(m4a) // 2])
    assert "\n" not in str(e.value)


def test_a_file_without_sound(encoded: Path, tmp_path: Path) -> None:
    path = tmp_path / "silent film.mp4"
    make = ["-v", "error", "-f", "lavfi", "-i", "color=size=16x16:duration=0.2", str(path)]
    subprocess.run([str(PROGRAM), *make], check=True)
    with pytest.raises(AudioDecodeError, match=r"silent film\.mp4: is not sound"):
        load(path)


def test_a_play_list_cannot_reach_other_files(encoded: Path, tmp_path: Path) -> None:
    """A demuxer that opens what its input names would read any file of the server."""
    secret = encoded / "tone.mkv"
    concat = tmp_path / "list.mp4"
    concat.write_text(f"ffconcat version 1.0\nfile {secret}\n")
    hls = tmp_path / "list.m4a"
    hls.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    for path in (concat, hls):
        with pytest.raises(AudioDecodeError):
            load(path)
        with pytest.raises(AudioDecodeError, match="that ffmpeg can read"):
            ffmpeg.FfmpegReader(_OnDisk(path))  # pyright: ignore[reportArgumentType]


class _OnDisk:
    """Hands a path straight to ffmpeg, past our own look at the content."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.on_disk = lambda: nullcontext(path)


def test_a_name_that_looks_like_a_protocol(
    encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http:x.m4a", "-i.m4a", "a%d.m4a"):
        Path(name).write_bytes((encoded / "tone.m4a").read_bytes())
        wav = load(name).wav  # some versions give AAC's padding too
        assert wav.shape[0] == 2
        assert wav.shape[1] == pytest.approx(48000, abs=3000)


def test_odd_codecs_in_known_containers(encoded: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"  # WMA in RIFF: libsndfile knows the box, not what is in it
    make = ["-v", "error", "-i", str(encoded / "tone.wav"), "-c:a", "wmav2", str(path)]
    subprocess.run([str(PROGRAM), *make], check=True)
    assert info(path).subtype == "FFMPEG"
    assert load(path).wav.shape[1] == pytest.approx(48000, abs=5000)

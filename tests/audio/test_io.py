import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from echoic.audio.io import AUDIO_SUFFIXES, AudioDecodeError, AudioWarning, blocks, info, load, save
from echoic.audio.raw import load_raw, raw_blocks
from echoic.audio.resample import Resampler

DATA = Path(__file__).parent.parent / "data"
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "MS_ADPCM"),
    ("FLAC", "PCM_24"),
    ("AIFF", "PCM_16"),
    ("AU", "FLOAT"),
    ("W64", "PCM_16"),
    ("RF64", "PCM_32"),
    ("CAF", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
LOSSY = {"VORBIS", "OPUS", "MPEG_LAYER_III"}


def tones(channels: int = 2, samples: int = 24000, rate: int = 48000) -> torch.Tensor:
    """A swept tone per channel, each sample different enough to tell a shift of one."""
    t = torch.arange(samples, dtype=torch.float64) / rate
    rows = [0.4 * torch.sin(2 * torch.pi * (300 + 200 * c + 900 * t) * t) for c in range(channels)]
    return torch.stack(rows).float()


def encoded(kind: str, subtype: str, wav: torch.Tensor | None = None, rate: int = 48000) -> bytes:
    wav = tones() if wav is None else wav
    out = io.BytesIO()
    sf.write(out, wav.T.numpy(), rate, format=kind, subtype=subtype)
    return out.getvalue()


def joined(*args, **kwargs) -> torch.Tensor:
    return torch.cat(list(blocks(*args, **kwargs)), dim=1)


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_formats_load_as_soundfile_reads_them(kind: str, subtype: str) -> None:
    data = encoded(kind, subtype)
    wav, rate = load(data)
    assert (rate, wav.dtype, wav.shape[0]) == (48000, torch.float32, 2)
    expected, _ = sf.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(wav.T.numpy(), expected)
    if subtype not in LOSSY:
        assert (wav[:, :24000] - tones()).abs().max() < 0.02
    told = info(data)
    assert (told.format, told.subtype, told.channels) == (kind, subtype, 2)
    assert told.num_frames == wav.shape[1]
    assert told.duration == wav.shape[1] / 48000


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [None, 16000])
def test_blocks_joined_equal_load(kind: str, subtype: str, rate: int | None) -> None:
    data = encoded(kind, subtype)
    whole = load(data, sample_rate=rate, mono=True).wav
    parts = list(blocks(data, seconds=0.033, sample_rate=rate, mono=True))
    size = round(0.033 * (rate or 48000))
    assert all(part.shape == (1, size) for part in parts[:-1])
    assert 0 < parts[-1].shape[1] <= size
    streamed = torch.cat(parts, dim=1)
    assert streamed.shape == whole.shape
    assert (streamed - whole).abs().max() < 1e-5


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
@pytest.mark.parametrize("start", [1, 5000, 20011])
def test_offset_is_exact_to_the_sample(kind: str, subtype: str, start: int) -> None:
    data = encoded(kind, subtype)
    whole = load(data).wav
    part = load(data, offset=start / 48000, duration=2000 / 48000).wav
    assert torch.equal(part, whole[:, start : start + 2000])


@pytest.mark.parametrize("path", sorted(DATA.glob("*.opus")), ids=lambda p: p.stem)
def test_real_speech(path: Path) -> None:
    whole = load(path, sample_rate=16000)
    assert whole.wav.shape[0] == 1
    assert 0.02 < float(whole.wav.std()) < 0.5
    assert (joined(path, seconds=0.1, sample_rate=16000) - whole.wav).abs().max() < 1e-5
    length = info(path).duration
    assert length == pytest.approx(whole.wav.shape[1] / 16000, abs=1e-4)
    at = load(path, offset=1.2345).wav
    assert torch.equal(at, load(path).wav[:, -at.shape[1] :])


def test_eight_channels_at_192_khz(tmp_path: Path) -> None:
    wav = tones(8, 19200, 192000)
    save(tmp_path / "a.wav", wav, 192000, subtype="FLOAT")
    assert torch.equal(load(tmp_path / "a.wav").wav, wav)
    mono = load(tmp_path / "a.wav", sample_rate=16000, mono=True).wav
    expected = Resampler(192000, 16000)(wav.mean(dim=0, keepdim=True))
    assert torch.equal(mono, expected)
    streamed = joined(tmp_path / "a.wav", seconds=0.01, sample_rate=16000)
    assert streamed.shape == (8, 1600)
    assert (streamed.mean(dim=0, keepdim=True) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "memoryview", "open file", "moved file"])
def test_kinds_of_source(tmp_path: Path, kind: str) -> None:
    data = encoded("WAV", "PCM_16")
    path = tmp_path / "ä b.raw"  # a misleading name: soundfile would take it for headerless
    path.write_bytes(data)
    moved = io.BytesIO(data)
    moved.seek(500)
    with path.open("rb") as file:
        source = {
            "path": path,
            "str": str(path),
            "bytes": data,
            "memoryview": memoryview(data),
            "open file": file,
            "moved file": moved,
        }[kind]
        wav = load(source).wav
        assert not file.closed
    assert (wav - tones()).abs().max() < 1e-4


@pytest.mark.parametrize("suffix", ["mp3", "flac", "txt", "m4a"])
def test_content_decides_not_the_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"really-a-wav.{suffix}"
    path.write_bytes(encoded("WAV", "PCM_16"))
    assert info(path).format == "WAV"
    assert load(path).wav.shape == (2, 24000)


class Pipe:
    """A pipe that a thread fills in pieces; `sent` counts bytes that the reader has taken up."""

    def __init__(self, data: bytes, piece: int = 1000, pause: float = 0.0) -> None:
        read_end, write_end = os.pipe()
        self.reader = os.fdopen(read_end, "rb")
        self.sent = 0
        self._thread = threading.Thread(target=self._write, args=(write_end, data, piece, pause))
        self._thread.start()

    def _write(self, end: int, data: bytes, piece: int, pause: float) -> None:
        try:
            for at in range(0, len(data), piece):
                os.write(end, data[at : at + piece])
                self.sent = at + piece
                time.sleep(pause)
        except BrokenPipeError:
            pass
        finally:
            os.close(end)

    def close(self) -> None:
        self.reader.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_a_pipe_gives_what_the_file_gives(kind: str, subtype: str) -> None:
    data = encoded(kind, subtype)
    pipe = Pipe(data)
    assert torch.equal(load(pipe.reader).wav, load(data).wav)
    pipe.close()


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF], ids=hex)
def test_wav_from_a_pipe_comes_out_while_it_is_written(size: int) -> None:
    """What recorders write to a pipe: a header with a length that is a guess."""
    data = bytearray(encoded("WAV", "PCM_16", tones(1, 480000)))
    data[40:44] = size.to_bytes(4, "little")
    pipe = Pipe(bytes(data), piece=2**14, pause=0.003)
    stream = blocks(pipe.reader, seconds=0.1, sample_rate=16000)
    first = next(stream)
    assert pipe.sent < len(data) / 2
    rest = torch.cat([first, *stream], dim=1)
    assert torch.allclose(
        rest, load(encoded("WAV", "PCM_16", tones(1, 480000)), sample_rate=16000).wav, atol=1e-5
    )
    pipe.close()


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(encoded("FLAC", "PCM_16"))

    monkeypatch.setattr("sys.stdin", Stdin)
    assert load("-").wav.shape == (2, 24000)
    assert not Stdin.buffer.closed


def test_recording_that_was_never_closed() -> None:
    """A crashed recorder leaves a data size of 0; the samples are there nevertheless."""
    data = bytearray(encoded("WAV", "PCM_16"))
    data[40:44] = bytes(4)
    assert torch.equal(load(bytes(data)).wav, load(encoded("WAV", "PCM_16")).wav)
    assert info(bytes(data)).num_frames == 24000
    assert load(bytes(data), offset=0.25).wav.shape == (2, 12000)


def test_blocks_take_constant_memory(tmp_path: Path) -> None:
    """The reader hands out memory of its own, block by block, and closes the file at once."""
    path = tmp_path / "long.wav"
    save(path, torch.zeros(1, 48000 * 60), 48000)
    held = 0
    for block in blocks(path, seconds=0.02, sample_rate=16000):
        held = max(held, block.untyped_storage().nbytes())
    assert held == 320 * 4
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    stream = blocks(path, seconds=0.02)
    next(stream)
    stream.close()
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_arguments_are_checked() -> None:
    data = encoded("WAV", "PCM_16")
    for offset, duration in ((-1.0, None), (0.0, 0.0), (float("nan"), None), (0.0, float("nan"))):
        with pytest.raises(ValueError, match=r"offset .* must be >= 0"):
            load(data, offset=offset, duration=duration)
    with pytest.raises(ValueError, match="sample_rate is 0"):
        load(data, sample_rate=0)
    with pytest.raises(ValueError, match="blocks of 0 seconds"):
        blocks(data, seconds=0)  # at the call, not at the first block


def test_suffixes() -> None:
    assert {".wav", ".opus", ".m4a"} <= AUDIO_SUFFIXES
    assert all(s.startswith(".") and s == s.lower() for s in AUDIO_SUFFIXES)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "PCM_U8", "FLOAT"])
def test_raw_samples(subtype: str) -> None:
    wav = tones(2, 1000)
    out = io.BytesIO()
    sf.write(out, wav.T.numpy(), 48000, format="RAW", subtype=subtype)
    tolerance = 0.01 if subtype == "PCM_U8" else 1e-4
    assert (load_raw(out.getvalue(), 48000, 2, subtype).wav - wav).abs().max() < tolerance
    pipe = Pipe(out.getvalue(), piece=777)
    parts = list(
        raw_blocks(pipe.reader, seconds=0.001, raw_rate=48000, channels=2, subtype=subtype)
    )
    pipe.close()
    assert [p.shape[1] for p in parts] == [48] * 20 + [40]
    assert torch.equal(torch.cat(parts, 1), load_raw(out.getvalue(), 48000, 2, subtype).wav)


def test_raw_errors() -> None:
    with pytest.raises(AudioDecodeError, match="holds no samples"):
        load_raw(b"", 16000)
    with pytest.warns(AudioWarning, match="ends inside a frame"):
        assert load_raw(bytes(5), 16000).wav.shape == (1, 2)
    with pytest.raises(AudioDecodeError, match=r"holds nan at 0\.5000 s"):
        load_raw(np.array([0, np.nan], np.float32).tobytes(), 2, subtype="FLOAT")
    with pytest.raises(ValueError, match="subtype is 'S16'"):
        load_raw(b"", 16000, subtype="S16")


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_blocks_of_a_stretch_equal_load(kind: str, subtype: str) -> None:
    data = encoded(kind, subtype)
    expected = load(data, sample_rate=16_000, offset=0.11, duration=0.2).wav
    parts = blocks(data, seconds=0.03, sample_rate=16_000, offset=0.11, duration=0.2)
    found = torch.cat(list(parts), dim=1)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_blocks_after_the_end_say_so() -> None:
    with pytest.raises(AudioDecodeError, match=r"no sound after the offset of 9"):
        list(blocks(encoded("WAV", "PCM_16"), seconds=1, offset=9.0))

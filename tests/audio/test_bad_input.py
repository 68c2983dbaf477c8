"""Whatever is handed in as sound: one clear line, or what is there with a warning."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from echoic.audio import ffmpeg
from echoic.audio.io import AudioDecodeError, AudioWarning, blocks, info, load


def encoded(kind: str, subtype: str, samples: int = 24000, rate: int = 16000) -> bytes:
    out = io.BytesIO()
    x = np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)
    sf.write(out, x, rate, format=kind, subtype=subtype)
    return out.getvalue()


def wav_header(data_bytes: int, rate: int = 16000, channels: int = 1, bits: int = 16) -> bytes:
    width = channels * bits // 8
    layout = (b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, channels, rate, rate * width % 2**32, width)
    return struct.pack("<4sI4s4sIHHIIH", *layout) + struct.pack("<H4sI", bits, b"data", data_bytes)


def float_wav(value: float, at: int) -> bytes:
    x = np.zeros(32000, np.float32)
    x[at] = value
    out = io.BytesIO()
    sf.write(out, x, 16000, format="WAV", subtype="FLOAT")
    return out.getvalue()


# name -> (content, what the line must say)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.wav": (lambda: b"", "is empty"),
    "one-byte.wav": (lambda: b"R", "is not sound"),
    "text.wav": (lambda: b"hello, this is no sound\n" * 99, "is not sound"),
    "page.mp3": (lambda: b"<!DOCTYPE html><html>404</html>", "is not sound"),
    "picture.wav": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(500), "is not sound"),
    "zeros.wav": (lambda: bytes(5000), "is not sound"),
    "archive.wav": (lambda: b"PK\x03\x04" + bytes(500), "is not sound"),
    "noise.bin": (
        lambda: bytes(np.random.default_rng(1).integers(0, 254, 9999, "u1")),
        "not sound",
    ),
    "only-riff.wav": (lambda: b"RIFF\0\0\0\0WAVE", "is not sound"),
    "no-data-chunk.wav": (lambda: wav_header(0)[:36], "is not sound"),
    "half-header.wav": (lambda: wav_header(100)[:20], "is not sound"),
    "no-frames.wav": (lambda: encoded("WAV", "PCM_16", 0), "holds no samples"),
    "no-frames.au": (lambda: encoded("AU", "PCM_16", 0), "holds no samples"),
    "header-only.wav": (lambda: wav_header(2**20), "holds no samples"),
    "no-channels.wav": (lambda: wav_header(4, channels=0) + bytes(4), "is not sound"),
    "no-rate.wav": (lambda: wav_header(4, rate=0) + bytes(4), "0 Hz|is not sound"),
    "mad-rate.wav": (lambda: wav_header(4, rate=2**31 - 1) + bytes(4), "sample rate of 2147483647"),
    "half.opus": (lambda: encoded("OGG", "OPUS")[:60], "is not sound"),
    "half-head.flac": (lambda: encoded("FLAC", "PCM_16")[:30], "is not sound|holds no samples"),
    "head-only.flac": (lambda: encoded("FLAC", "PCM_16")[:90], "is damaged|holds no samples"),
    "nan.wav": (lambda: float_wav(np.nan, 20000), r"holds nan at 1\.2500 s"),
    "inf.wav": (lambda: float_wav(np.inf, 4000), r"holds inf at 0\.2500 s"),
    "first-inf.wav": (lambda: float_wav(-np.inf, 0), r"holds -inf at 0\.0000 s"),
    "midi.wav": (lambda: b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk" + bytes(99), "is not sound"),
    "cut.m4a": (lambda: b"\0\0\0\x20ftypM4A " + bytes(200), "ffmpeg"),
    "cut.webm": (lambda: b"\x1a\x45\xdf\xa3" + bytes(200), "ffmpeg"),
}


def one_line(error: BaseException, name: str) -> str:
    text = str(error)
    assert "\n" not in text
    assert name in text
    assert ";" in text, "the line must end in what to do"
    return text


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        with pytest.raises(AudioDecodeError, match=said) as caught:
            load(path, sample_rate=8000)
        one_line(caught.value, name)
        with pytest.raises(AudioDecodeError, match=said):
            list(blocks(path.read_bytes(), seconds=0.1))


def test_missing_file_folder_and_locked_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong, kind in (
        (tmp_path / "nothing.wav", FileNotFoundError),
        (tmp_path / "no" / "such" / "folder.wav", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        ("a\0b", FileNotFoundError),
        ("", FileNotFoundError),
        ("two\nlines.wav", FileNotFoundError),
    ):
        for call in (load, info, lambda source: list(blocks(source, seconds=1))):
            with pytest.raises(kind) as caught:
                call(wrong)
            one_line(caught.value, "")

    def locked(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", locked)  # chmod does not stop root
    with pytest.raises(PermissionError, match=r"locked\.wav: may not be read") as caught:
        load(tmp_path / "locked.wav")
    one_line(caught.value, "locked.wav")


@pytest.mark.parametrize(
    "wrong", [None, 7, io.StringIO("text"), [1.0], np.zeros(9)], ids=lambda x: type(x).__name__
)
def test_things_that_are_no_source(wrong: object) -> None:
    with pytest.raises(TypeError, match="cannot read sound from"):
        load(wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("claim", [10 * 3600 * 48000, 0x7FFEFFFF], ids=["10 hours", "2 GB"])
def test_a_header_that_promises_hours(claim: int) -> None:
    data = wav_header(claim) + bytes(1000)
    with pytest.warns(AudioWarning, match="is cut: its header promises"):
        assert load(data).wav.shape == (1, 500)
    with pytest.warns(AudioWarning, match="is cut"):
        assert info(data).num_frames == 500


def test_a_flac_that_promises_hours() -> None:
    data = bytearray(encoded("FLAC", "PCM_16"))
    word = int.from_bytes(data[18:26], "big") & ~(2**36 - 1)
    data[18:26] = (word | 16000 * 36000).to_bytes(8, "big")
    assert sf.info(io.BytesIO(data)).frames == 16000 * 36000
    with pytest.warns(AudioWarning, match="is (cut|damaged)"):
        assert load(bytes(data)).wav.shape == (1, 24000)
    with pytest.warns(AudioWarning):
        assert info(bytes(data)).num_frames == 24000


def test_a_flac_of_unknown_length() -> None:
    """What a FLAC encoder writes to a pipe: a length of 0."""
    data = bytearray(encoded("FLAC", "PCM_16"))
    word = int.from_bytes(data[18:26], "big") & ~(2**36 - 1)
    data[18:26] = word.to_bytes(8, "big")
    assert load(bytes(data)).wav.shape == (1, 24000)
    assert info(bytes(data)).num_frames == 24000


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("W64", "PCM_16"),
        ("RF64", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_cut_in_the_middle(kind: str, subtype: str) -> None:
    whole = encoded(kind, subtype, 48000)
    data = whole[: len(whole) // 2]
    with pytest.warns(AudioWarning, match="is (cut|damaged)"):
        wav = load(data).wav
    assert 15000 < wav.shape[1] < 25500
    assert (wav == load(whole).wav[:, : wav.shape[1]])[:, :-1200].all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert info(data).num_frames == wav.shape[1]
        joined = np.concatenate(list(blocks(data, seconds=0.05)), axis=1)
    assert np.array_equal(joined, wav.numpy())


def test_cut_ogg_gives_what_is_there() -> None:
    """Ogg has no promised length: a cut one is just shorter."""
    whole = encoded("OGG", "VORBIS", 480000)
    wav = load(whole[: len(whole) // 2]).wav
    assert 100000 < wav.shape[1] < 400000
    assert info(whole[: len(whole) // 2]).num_frames == wav.shape[1]


def test_offset_past_the_end() -> None:
    with pytest.raises(AudioDecodeError, match=r"no sound after the offset of 9\.0 s"):
        load(encoded("WAV", "PCM_16"), offset=9.0)
    with pytest.raises(AudioDecodeError, match="no sound after"):
        load(encoded("MP3", "MPEG_LAYER_III"), offset=9.0)


def test_floats_that_were_never_scaled() -> None:
    with pytest.warns(AudioWarning, match="peaks at 32767 instead of 1"):
        assert load(float_wav(32767.0, 9)).wav.max() == 32767


def test_an_endless_stream_of_nothing_is_refused() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    with pytest.raises(AudioDecodeError, match="is not sound"):
        load(io.BufferedReader(Endless()))  # pyright: ignore[reportArgumentType]


def test_needs_ffmpeg_but_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    assert ffmpeg.find_ffmpeg() is None
    with pytest.raises(
        AudioDecodeError, match=r"needs ffmpeg.*pip install 'echoic\[ffmpeg\]'"
    ) as caught:
        load(REFUSED["cut.m4a"][0]())
    one_line(caught.value, "bytes of memory")

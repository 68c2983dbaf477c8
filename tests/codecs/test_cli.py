"""`echoic codec encode`, `decode` and `info` on files, and what they say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from codec_command import SHORT, codec, done, flip_bit, noise_file, only_problem
from tiny_codec import WholeCodec, saved_codec, tiny_codec

from echoic.audio.io import load
from echoic.codecs.container import EchoReader
from echoic.codecs.registry import KINDS
from echoic.codecs.streaming import CodecDecoder
from echoic.codecs.weights import weights_hash


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a codec's folder in the folder where commands are typed."""
    saved_codec(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    return "tiny"


def test_speech_there_and_back(model, tmp_path):
    said = done("encode", SHORT, "a.echo", "-m", model)
    assert said.stdout == ""
    assert said.stderr.startswith("echoic: 3.0 s of sound at ")
    assert "times real time" in said.stderr
    back = done("decode", "a.echo", "a.wav")
    assert back.stdout == ""
    wav = load(SHORT).wav
    expected = tiny_codec().decode(tiny_codec().encode(wav)).clamp(-1, 1)
    found, rate = sf.read("a.wav", dtype="float32", always_2d=True)
    assert rate == 16000
    torch.testing.assert_close(torch.from_numpy(found.T), expected, rtol=0, atol=2e-4)
    assert {p.name for p in tmp_path.iterdir()} == {"tiny", "a.echo", "a.wav"}


@pytest.mark.parametrize(("channels", "rate"), [(1, 16000), (2, 44100), (8, 96000)])
@pytest.mark.parametrize("samples", [1, 20011])
def test_length_rate_and_channels_come_back(model, channels, rate, samples):
    sf.write("in.wav", 0.1 * np.ones((samples, channels)), rate)
    done("encode", "in.wav", "a.echo", "-m", model)
    done("decode", "a.echo", "out.flac")
    found = sf.info("out.flac")
    assert (found.frames, found.channels, found.samplerate) == (samples, channels, rate)


def test_the_codec_is_found_again_from_another_folder(model, tmp_path, monkeypatch):
    done("encode", SHORT, "a.echo", "-m", model)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done("decode", tmp_path / "a.echo", "a.wav")
    assert json.loads(done("info", "../a.echo", "--json").stdout)["model"] == str(tmp_path / "tiny")


def test_fewer_books_and_entropy_coding_make_smaller_files(model):
    sizes = []
    sf.write("in.wav", np.zeros(5 * 16000), 16000)  # always the same codes
    for options in ([], ["--n-q", "2"], ["--n-q", "2", "--entropy"]):
        done("encode", "in.wav", "a.echo", "-m", model, "--overwrite", *options)
        sizes.append(Path("a.echo").stat().st_size)
        done("decode", "a.echo", "a.wav", "--overwrite")
    assert sizes[0] > sizes[1] > sizes[2]


def test_pipes_give_the_same_codes_and_samples(model):
    done("encode", SHORT, "a.echo", "-m", model)
    piped = done("encode", "-", "-", "-m", model, stdin=SHORT.read_bytes()).stdout_bytes
    Path("b.echo").write_bytes(piped)
    codes = []
    for name in ("a.echo", "b.echo"):
        with open(name, "rb") as file:
            reader = EchoReader(file)
            codes.append(torch.cat([segment.codes for segment in reader], dim=2))
            assert reader.num_samples == 47840
    assert torch.equal(*codes)
    done("decode", "a.echo", "a.wav")
    samples = sf.read("a.wav", dtype="int16")[0]
    raw = done("decode", "-", "-", "--raw", stdin=piped)
    assert np.array_equal(np.frombuffer(raw.stdout_bytes, "<i2"), samples)
    assert raw.stderr.startswith("echoic: 3.0 s of sound, 16000 Hz, channels: 1")
    for data in (piped, Path("a.echo").read_bytes()):  # its length unknown before its end, known
        wav = done("decode", "-", "-", stdin=data).stdout_bytes
        assert np.array_equal((load(wav).wav[0] * 32768).numpy(), samples)


def test_raw_samples_to_a_file_are_interleaved(model):
    noise_file(Path("in.wav"), rate=16000, channels=2)
    done("encode", "in.wav", "a.echo", "-m", model)
    done("decode", "a.echo", "a.wav")
    done("decode", "a.echo", "a.s16", "--raw")
    raw = np.fromfile("a.s16", "<i2").reshape(-1, 2)
    assert np.array_equal(raw, sf.read("a.wav", dtype="int16")[0])


def test_samples_beyond_full_scale_are_told_and_kept_in_floats(model, monkeypatch):
    done("encode", SHORT, "a.echo", "-m", model)
    decode = CodecDecoder.step

    def loud(decoder: CodecDecoder, state: Any, codes: torch.Tensor) -> tuple[Any, torch.Tensor]:
        state, wav = decode(decoder, state, codes)
        return state, 100 * wav

    monkeypatch.setattr(CodecDecoder, "step", loud)
    assert "warning: a.wav: clipped" in done("decode", "a.echo", "a.wav").stderr
    said = done("decode", "a.echo", "-", "--raw").stderr
    assert "warning: standard output: clipped" in said
    assert "clipped" not in done("decode", "a.echo", "b.wav", "--subtype", "FLOAT").stderr
    assert np.abs(sf.read("b.wav")[0]).max() > 1


def test_nothing_is_overwritten_unless_told(model):
    Path("a.echo").write_bytes(b"mine")
    line = only_problem(codec("encode", SHORT, "a.echo", "-m", model), 2)
    assert line == "a.echo: is there already; add --overwrite to replace it"
    assert Path("a.echo").read_bytes() == b"mine"
    done("encode", SHORT, "a.echo", "-m", model, "--overwrite")
    Path("a.wav").write_bytes(b"mine")
    assert "--overwrite" in only_problem(codec("decode", "a.echo", "a.wav"), 2)
    assert Path("a.wav").read_bytes() == b"mine"
    done("decode", "a.echo", "a.wav", "--overwrite")
    assert sf.info("a.wav").frames == 47840


def test_quiet_leaves_results_and_problems(model):
    assert done("encode", SHORT, "a.echo", "-m", model, "-q").stderr == ""
    assert done("decode", "a.echo", "a.wav", "-q").stderr == ""
    assert "no such file" in only_problem(codec("decode", "no.echo", "b.wav", "-q"), 1)


def test_info_tells_the_header_the_length_and_the_rates(model):
    noise_file(Path("in.wav"), 4.5, rate=22050, channels=2)
    done("encode", "in.wav", "a.echo", "-m", model, "--n-q", "2")
    found = json.loads(done("info", "a.echo", "--json").stdout)
    expected = {
        "weights": weights_hash(tiny_codec()),
        "num_codebooks": 2,
        "codebook_size": 32,
        "original_sample_rate": 22050,
        "channels": 2,
        "num_samples": 99232,
        "duration": 99232 / 22050,
        "num_frames": 226,
        "segments": 3,
        "entropy_coded_segments": 0,
        "code_bitrate": 2 * 2 * 5 * 50,
        "intact": True,
        "damage": [],
    }
    assert {key: found[key] for key in expected} == expected
    size = Path("a.echo").stat().st_size
    assert found["bitrate"] == pytest.approx(8 * size / found["duration"])
    page = done("info", "-", stdin=Path("a.echo").read_bytes()).stdout
    for text in ("22050 Hz, channels: 2", "4.50 s (99232 samples)", "3 of 2 s", "all right"):
        assert text in page


def test_entropy_coded_segments_are_counted(model):
    sf.write("in.wav", np.zeros(4 * 16000), 16000)
    done("encode", "in.wav", "a.echo", "-m", model, "--entropy")
    found = json.loads(done("info", "a.echo", "--json").stdout)
    assert found["entropy_coded_segments"] == found["segments"] == 2
    assert "2 of 2 s, 2 of them entropy coded" in done("info", "a.echo").stdout


def test_damage_is_told_salvaged_and_shown(model):
    noise_file(Path("in.wav"), 7.0)
    done("encode", "in.wav", "a.echo", "-m", model)
    data = Path("a.echo").read_bytes()
    Path("bad.echo").write_bytes(flip_bit(data, len(data) // 2))
    line = only_problem(codec("decode", "bad.echo", "a.wav"), 1)
    assert line.startswith("bad.echo: is damaged after 2.00 s; ")
    assert "--salvage" in line
    assert not Path("a.wav").exists()
    shown = codec("info", "bad.echo")
    assert shown.exit_code == 1
    assert "damaged    2.00 to 4.00 s" in shown.stdout
    assert json.loads(codec("info", "bad.echo", "--json").stdout)["damage"] == [
        {"start": 2.0, "end": 4.0, "problem": "is damaged after 2.00 s"}
    ]
    said = done("decode", "bad.echo", "a.wav", "--salvage").stderr
    assert "echoic: bad.echo: is damaged after 2.00 s; silence from 2.00 to 4.00 s" in said
    wav = sf.read("a.wav")[0]
    assert len(wav) == 7 * 16000 + 7
    assert np.abs(wav[34000:62000]).max() == 0 < np.abs(wav[66000:]).max()


def test_a_cut_file_gives_what_is_there(model):
    noise_file(Path("in.wav"), 7.0)
    done("encode", "in.wav", "a.echo", "-m", model)
    data = Path("a.echo").read_bytes()
    Path("cut.echo").write_bytes(data[: len(data) // 2])
    assert "is cut after 2.00 s" in only_problem(codec("decode", "cut.echo", "a.wav"), 1)
    said = done("decode", "cut.echo", "a.wav", "--salvage").stderr
    assert "is cut after 2.00 s; what came behind 2.00 s is lost" in said
    assert sf.info("a.wav").frames == 2 * 16000
    piped = done("decode", "cut.echo", "-", "--salvage").stdout_bytes
    assert load(piped).wav.shape == (1, 2 * 16000)
    assert "from 2.00 s on" in codec("info", "cut.echo").stdout


def test_a_codec_that_cannot_stream_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved_codec(tmp_path / "tiny")
    monkeypatch.setitem(KINDS, "echocodec", (WholeCodec.__module__, "WholeCodec"))
    said = done("encode", SHORT, "a.echo", "-m", "tiny").stderr
    assert "the whole recording is held in memory" in said
    done("decode", "a.echo", "a.wav")
    assert sf.info("a.wav").frames == 47840


@pytest.mark.parametrize("words", [[], ["encode"], ["decode"], ["info"], ["eval"], ["plot"]])
def test_help_comes_without_torch(words):
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from echoic.recipes.cli import build_app\n"
        f"line = ['codec', *{words!r}, '--help']\n"
        "result = CliRunner().invoke(build_app(line), line)\n"
        "print(result.exit_code, 'torch' in sys.modules, 'Usage: ' in result.stdout)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "False", "True"]

"""`echoic codec` with what it cannot use: one line, an exit code, nothing left behind."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from codec_command import SHORT, codec, done, flip_bit, only_problem
from tiny_codec import saved_codec
from typer.testing import CliRunner

from echoic.codecs.cli import DEFAULT_MODEL
from echoic.codecs.jobs import encoding
from echoic.recipes.cli import build_app

SAID: list[tuple[list[Any], int, str]] = [
    (["encode", "no.wav", "o.echo", "-m", "tiny"], 1, "no.wav: no such file; "),
    (["encode", "folder", "o.echo", "-m", "tiny"], 2, "is a folder; add -o DIR"),
    (["encode", SHORT, "o.wav", "-m", "tiny"], 2, "expected an output that ends in .echo"),
    (["encode", SHORT, "no/o.echo", "-m", "tiny"], 2, "no folder no; create it first"),
    (["encode", SHORT, "folder", "-m", "tiny"], 2, "folder: is a folder; name the file"),
    (["encode", SHORT, "-m", "tiny"], 2, "1 names without -o; give IN and OUT.echo"),
    (["encode", SHORT, SHORT, "o.echo", "-m", "tiny"], 2, "3 names without -o"),
    (["encode", SHORT, "-o", "text.txt", "-m", "tiny"], 2, "-o text.txt is no folder"),
    (["encode", "folder", "-o", "out", "-m", "tiny"], 2, "folder has no recordings"),
    (["encode", SHORT, "o.echo", "-m", "no-such"], 2, "no codec 'no-such': expected a name in"),
    (["encode", SHORT, "o.echo", "-m", "folder"], 2, "folder: no config.json"),
    (["encode", SHORT, "o.echo", "-m", "torn"], 2, "torn/model.safetensors: damaged"),
    (["encode", SHORT, "o.echo", "-m", "tiny", "--n-q", "4"], 2, "n_q is 4, expected 1 to 3"),
    (["encode", SHORT, "o.echo", "-m", "tiny", "--n-q", "0"], 2, "n_q is 0, expected 1 to 3"),
    (["encode", SHORT, "o.echo", "-m", "tiny", "--device", "abacus"], 2, "'abacus' is unknown"),
    (["encode", "a.echo", "a.echo", "-m", "tiny", "--overwrite"], 2, "is the input as well"),
    (["encode", "text.txt", "o.echo", "-m", "tiny"], 1, "text.txt: is not sound"),
    (["encode", "empty.wav", "o.echo", "-m", "tiny"], 1, "empty.wav: is empty; "),
    (["encode", "none.wav", "o.echo", "-m", "tiny"], 1, "none.wav: holds no samples; "),
    (["encode", "nan.wav", "o.echo", "-m", "tiny"], 1, "nan.wav: holds nan at 0.0048 s"),
    (["decode", "no.echo", "o.wav"], 1, "no.echo: no such file; "),
    (["decode", "folder", "o.wav"], 2, "folder: is a folder; name an .echo file"),
    (["decode", SHORT, "o.wav"], 1, "is not an .echo file; "),
    (["decode", "empty.wav", "o.wav"], 1, "empty.wav: is empty; "),
    (["decode", "a.echo", "o.xyz"], 2, "expected an output that ends in .flac .mp3 .ogg"),
    (["decode", "a.echo", "o"], 2, "o: expected an output that ends in"),
    (["decode", "a.echo", "no/o.wav"], 2, "no folder no; create it first"),
    (["decode", "a.wav", "a.wav", "--overwrite"], 2, "is the input as well"),
    (["decode", "a.echo", "o.wav", "--subtype", "PCM_17"], 2, "WAV cannot hold PCM_17"),
    (["decode", "a.echo", "-", "--subtype", "FLOAT"], 2, "--subtype is for sound files"),
    (["decode", "a.echo", "o.wav", "-m", "no-such"], 2, "no codec 'no-such'"),
    (["decode", "a.echo", "o.wav", "-m", "other"], 1, "with weights"),
    (["decode", "header.echo", "o.wav"], 1, "header.echo: has a damaged header; "),
    (["decode", "head.echo", "o.wav", "--salvage"], 1, "head.echo: is cut within its header"),
    (["decode", "first.echo", "o.wav", "--salvage"], 1, "has no intact segment"),
    (["decode", "tail.echo", "o.wav"], 1, "tail.echo: has bytes behind its end; "),
    (["info", "no.echo"], 1, "no.echo: no such file; "),
    (["info", "folder"], 2, "folder: is a folder; name an .echo file"),
    (["info", SHORT], 1, "is not an .echo file; "),
    (["eval", "folder", "-m", "tiny"], 2, "folder has no recordings"),
    (["eval", "no.jsonl", "-m", "tiny"], 2, "no.jsonl: cannot be read"),
    (["eval", "bad.jsonl", "-m", "tiny"], 2, "bad.jsonl, line 1: a list, not an object"),
    (["eval", "cut.jsonl", "-m", "tiny"], 2, "cut.jsonl: has stretches of recordings, such as"),
    (["eval", "-", "-m", "tiny"], 2, "standard input cannot be evaluated"),
    (["eval", SHORT, "-m", "tiny", "--n-q", "9"], 2, "n_q is 9, expected 1 to 3"),
    (["eval", SHORT, "-m", "tiny", "--json", "no/o.json"], 2, "no folder no; create it first"),
    (["plot", SHORT, "o.gif", "-m", "tiny"], 2, "expected an output that ends in .pdf .png .svg"),
    (["plot", SHORT, "-", "-m", "tiny"], 2, "a picture needs a name"),
    (["plot", "folder", "o.png", "-m", "tiny"], 2, "folder: is a folder; name a recording"),
    (["plot", "nan.wav", "o.png", "-m", "tiny"], 1, "nan.wav: holds nan"),
    (["plot", SHORT, "o.png", "-m", "tiny", "--offset", "9"], 1, "no sound after the offset"),
    (["plot", SHORT, "o.png", "-m", "tiny", "--duration", "0"], 2, "--duration more than 0"),
]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that can be wrong."""
    room = tmp_path_factory.mktemp("room")
    saved_codec(room / "tiny")
    saved_codec(room / "other", seed=1)
    torn = saved_codec(room / "torn") / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:1000])
    (room / "folder").mkdir()
    (room / "text.txt").write_text("no sound")
    (room / "bad.jsonl").write_text("[1]\n")
    (room / "cut.jsonl").write_text('{"audio": "a.wav", "offset": 1.5, "duration": 2}\n')
    (room / "empty.wav").touch()
    sf.write(room / "a.wav", np.zeros(8), 16000)
    sf.write(room / "none.wav", np.zeros(0), 16000)
    broken = np.zeros(16000)
    broken[77] = np.nan
    sf.write(room / "nan.wav", broken, 16000, "FLOAT")
    done("encode", SHORT, room / "a.echo", "-m", room / "tiny")
    data = (room / "a.echo").read_bytes()
    (room / "header.echo").write_bytes(flip_bit(data, 20))
    (room / "head.echo").write_bytes(data[:40])
    (room / "first.echo").write_bytes(flip_bit(data, data.index(b"\xecS") + 30)[:500])
    (room / "tail.echo").write_bytes(data + b"more")
    return room


@pytest.mark.parametrize(
    ("words", "code", "said"), SAID, ids=[" ".join(map(str, w[:2])) + f" {t}" for w, _, t in SAID]
)
def test_one_line_and_nothing_left_behind(room, monkeypatch, words, code, said):
    monkeypatch.chdir(room)
    before = {p.name: p.stat().st_mtime_ns for p in room.iterdir()}
    result = codec(*words)
    assert said in only_problem(result, code)
    assert result.stdout == ""
    assert {p.name: p.stat().st_mtime_ns for p in room.iterdir()} == before


def test_the_default_model_is_missed_in_one_line(room, monkeypatch):
    monkeypatch.chdir(room)
    monkeypatch.setattr("echoic.codecs.box.BOX", room / "folder")
    line = only_problem(codec("encode", SHORT, "o.echo"), 2)
    assert line.startswith(f"no codec {DEFAULT_MODEL!r}: expected a name in the box (none), ")


def test_info_tells_what_stands_behind_the_end(room):
    shown = codec("info", room / "tail.echo")
    assert shown.exit_code == 1
    assert "damaged    behind its end" in shown.stdout
    assert "has bytes behind its end" in shown.stderr


def test_the_codec_of_a_file_is_missed_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved_codec(tmp_path / "tiny")
    done("encode", SHORT, "a.echo", "-m", "tiny")
    os.rename("tiny", "moved")
    line = only_problem(codec("decode", "a.echo", "a.wav"), 1)
    assert line.startswith(f"a.echo: was made by '{tmp_path}/tiny', which cannot be loaded")
    assert line.endswith("give that codec with --model")
    done("decode", "a.echo", "a.wav", "-m", "moved")


def test_a_name_in_a_file_cannot_move_the_terminals_cursor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved_codec(tmp_path / "tiny")
    monkeypatch.setattr(encoding, "lasting_name", lambda _: "a\x1b[2Jb\nc")
    done("encode", SHORT, "a.echo", "-m", "tiny")
    page = done("info", "a.echo").stdout
    assert "\x1b" not in page
    assert page.splitlines()[0].endswith(r"a\x1b[2Jb c")
    assert "\x1b" not in only_problem(codec("decode", "a.echo", "a.wav"), 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(room, monkeypatch):
    monkeypatch.chdir(room)
    line = only_problem(codec("encode", SHORT, "o.echo", "-m", "tiny", "--device", "cuda"), 2)
    assert line.startswith("device 'cuda' cannot be used")


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_a_folder_that_cannot_be_written(room, monkeypatch, verb):
    monkeypatch.chdir(room)
    words = {
        "encode": ["encode", SHORT, "/proc/o.echo", "-m", "tiny"],
        "decode": ["decode", "a.echo", "/proc/o.wav"],
    }
    if not Path("/proc/self").exists():
        pytest.skip("no folder that even root cannot write in")
    line = only_problem(codec(*words[verb]), 1)
    assert line.startswith("/proc/o.")
    assert ": cannot be written (" in line


def test_debug_shows_where_an_unexpected_error_comes_from(room, monkeypatch):
    monkeypatch.chdir(room)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(encoding, "encode_file", broken)
    plain = codec("encode", SHORT, "o.echo", "-m", "tiny")
    assert plain.exit_code == 1
    assert plain.stderr == "echoic: RuntimeError: boom (unexpected; --debug prints where)\n"
    line = ["codec", "encode", str(SHORT), "o.echo", "-m", "tiny", "--debug"]
    told = CliRunner().invoke(build_app(line), line).stderr
    assert told.startswith("Traceback")
    assert "in broken" in told

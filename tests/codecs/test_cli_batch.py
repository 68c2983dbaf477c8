"""`echoic codec encode -o DIR`: many recordings, none of which keeps the others back."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from codec_command import SHORT, codec, done, noise_file, only_problem
from tiny_codec import saved_codec

from echoic.codecs.jobs import encoding, places
from echoic.codecs.jobs.sounds import Sound, output_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where commands are typed, with a codec and a tree of recordings."""
    monkeypatch.chdir(tmp_path)
    saved_codec(tmp_path / "tiny")
    saved_codec(tmp_path / "other", seed=1)
    for name in ("a.wav", "a.flac", "b.wav", "sub/a.wav", "sub/deep/c.ogg"):
        noise_file(tmp_path / "in" / name, 0.3)
    (tmp_path / "in" / "notes.txt").write_text("no recording")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


ALL = {"a.wav.echo", "a.flac.echo", "b.echo", "sub/a.echo", "sub/deep/c.echo"}


def test_a_folder_becomes_a_tree_like_it(folder):
    said = done("encode", "in", "-o", "out", "-m", "tiny").stderr
    assert files(folder / "out") == ALL
    (line,) = said.splitlines()
    assert line.startswith("echoic: 5 coded, 0 failed, 1.5 s of sound at ")
    for name in ALL:
        assert "all right" in done("info", Path("out") / name).stdout


def test_bad_files_are_listed_at_the_end_and_the_rest_is_done(folder):
    (folder / "in" / "0.wav").write_text("no sound")
    (folder / "in" / "z.wav").touch()
    result = codec("encode", "in", "gone.wav", SHORT, "-o", "out", "-m", "tiny")
    assert result.exit_code == 1
    root = os.path.commonpath([folder, SHORT.parent])
    coded = {Path(name).name for name in files(folder / "out")}
    assert coded == {Path(name).name for name in ALL} | {f"{SHORT.stem}.echo"}, root
    lines = [line.removeprefix("echoic: ") for line in result.stderr.splitlines()]
    assert lines[3] == "these failed:"
    assert lines[:3] == lines[4:7]
    assert [line.partition(": ")[0] for line in lines[:3]] == ["in/0.wav", "in/z.wav", "gone.wav"]
    assert lines[7].startswith("6 coded, 3 failed, ")


def test_what_is_done_is_passed_over(folder):
    done("encode", "in", "-o", "out", "-m", "tiny")
    times = {name: (folder / "out" / name).stat().st_mtime_ns for name in ALL}
    (folder / "out" / "b.echo").unlink()
    said = done("encode", "in", "-o", "out", "-m", "tiny").stderr
    assert "4 were done already in out; --overwrite does them again" in said
    assert "1 coded, 0 failed" in said
    now = {name: (folder / "out" / name).stat().st_mtime_ns for name in ALL}
    assert {name for name in ALL if now[name] != times[name]} == {"b.echo"}
    assert "5 coded" in done("encode", "in", "-o", "out", "-m", "tiny", "--overwrite").stderr


@pytest.mark.parametrize("options", [["-m", "other"], ["-m", "tiny", "--n-q", "2"]])
def test_files_of_other_settings_are_not_taken_for_done(folder, options):
    done("encode", "in/b.wav", "-o", "out", "-m", "tiny")
    before = (folder / "out" / "b.echo").read_bytes()
    result = codec("encode", "in/b.wav", "-o", "out", *options)
    assert result.exit_code == 1
    assert "with 3 codes a frame; choose another folder with -o" in result.stderr
    assert (folder / "out" / "b.echo").read_bytes() == before


def test_something_else_in_the_way_stays(folder):
    (folder / "out").mkdir()
    (folder / "out" / "b.echo").write_text("mine")
    result = codec("encode", "in/b.wav", "-o", "out", "-m", "tiny")
    assert result.exit_code == 1
    assert "out/b.echo is in the way, no .echo file" in result.stderr
    assert (folder / "out" / "b.echo").read_text() == "mine"


def test_standard_input_and_repeats(folder):
    words = ["encode", "-", "in/b.wav", "in/../in/b.wav", "-o", "out", "-m", "tiny"]
    done(*words, stdin=SHORT.read_bytes())
    assert files(folder / "out") == {"stdin.echo", "b.echo"}


def test_an_output_folder_inside_the_input_is_no_input(folder):
    done("encode", "in", "-o", "in/out", "-m", "tiny")
    done("encode", "in", "-o", "in/out", "-m", "tiny")
    assert files(folder / "in" / "out") == ALL


def test_a_file_in_the_place_of_a_folder_fails_alone(folder):
    (folder / "out").mkdir()
    (folder / "out" / "sub").write_text("mine")
    result = codec("encode", "in", "-o", "out", "-m", "tiny")
    assert result.exit_code == 1
    assert "3 coded, 2 failed" in result.stderr
    assert "a file is in the way, choose another folder" in result.stderr


def test_a_full_disk_ends_the_batch_and_leaves_nothing(folder, monkeypatch):
    written: list[str] = []

    class Full(places._WholeFile):
        def write(self, data: bytes) -> int:
            written.append(self._path)
            with self._named():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(places, "_WholeFile", Full)
    line, *rest = codec("encode", "in", "-o", "out", "-m", "tiny").stderr.splitlines()
    assert "cannot be written (No space left on device); free some space" in line
    assert rest == ["echoic: 0 coded, 1 failed, 0.0 s of sound"]
    assert len(set(written)) == 1
    assert files(folder / "out") == set()


def test_control_c_keeps_what_is_done_and_tells_what_is_left(folder, monkeypatch):
    encode_file, calls = encoding.encode_file, []

    def interrupted(*words: Any, **options: Any) -> Any:
        calls.append(words)
        if len(calls) == 3:
            words[2].write(b"half")
            raise KeyboardInterrupt
        return encode_file(*words, **options)

    monkeypatch.setattr(encoding, "encode_file", interrupted)
    result = codec("encode", "in", "-o", "out", "-m", "tiny")
    assert result.exit_code == 130
    last = "echoic: interrupted with 3 to do; the same command goes on from here"
    assert result.stderr.splitlines()[-1] == last
    assert len(files(folder / "out")) == 2
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert "2 were done already" in done("encode", "in", "-o", "out", "-m", "tiny").stderr
    assert files(folder / "out") == ALL


def test_no_recordings_in_a_folder(folder):
    (folder / "empty").mkdir()
    line = only_problem(codec("encode", "empty", "-o", "out", "-m", "tiny"), 2)
    assert line.startswith("empty has no recordings")


def test_names_never_meet():
    paths = ["/r/a.wav", "/r/a.mp3", "/r/a.wav.flac", "/r/s/a.wav", "-"]
    names = output_names([Sound(path, "" if path == "-" else "/r") for path in paths], ".echo")
    assert len(set(names)) == len(paths)
    assert names[3:] == ["s/a.echo", "stdin.echo"]

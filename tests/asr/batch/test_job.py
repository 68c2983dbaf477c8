"""The whole way from a request to files and exit code, with a recogniser that reads text."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_bench import Bench, make, tree
from fake_transcriber import FakeTranscriber

from echoic.asr.batch import outputs
from echoic.asr.batch.job import Request


def test_one_file_is_printed_as_text(bench: Bench):
    make(a="hello")
    assert bench.run("a.wav") == 0
    assert bench.out == "hello\n"
    assert bench.err.startswith("echoic: 1 done, 0 failed, 0:00:05 of audio in ")
    assert "x real time)" in bench.err
    assert tree(".") == ["a.wav"]


def test_several_files_have_headers_and_come_in_order(bench: Bench):
    make(in__c="three", in__a="one", in__b="BAD", in__d="four")
    assert bench.run("in") == 1
    assert bench.out == (
        "==> in/a.wav <==\none\n\n==> in/c.wav <==\nthree\n\n==> in/d.wav <==\nfour\n"
    )
    assert bench.transcriber.heard == ["c", "b", "a", "d"]  # so the order was mended


def test_another_format_can_be_printed(bench: Bench):
    make(a="hi")
    assert bench.run("a.wav", formats="srt") == 0
    assert bench.out == "1\n00:00:00,000 --> 00:00:02,000\nhi\n\n"


def test_files_in_all_formats_mirror_the_tree(bench: Bench):
    make(in__x__1="one", in__y__1="two")
    assert bench.run("in", recursive=True, output_dir="out") == 0
    suffixes = ("json", "srt", "tsv", "txt", "vtt")
    assert tree() == [f"{folder}/1.{suffix}" for folder in "xy" for suffix in suffixes]
    assert Path("out/y/1.txt").read_bytes() == b"two\n"
    assert bench.out == ""


def test_json_lines_tell_results_and_errors(bench: Bench):
    make(in__a="one", in__b="BAD")
    assert bench.run("in", json_lines=True) == 1
    lines = {line["audio"]: line for line in map(json.loads, bench.out.splitlines())}
    assert lines["in/a.wav"]["text"] == "one"
    assert lines["in/a.wav"]["segments"][0]["end"] == 3.0
    assert lines["in/b.wav"] == {"audio": "in/b.wav", "error": "is not sound; convert it to WAV"}


def test_bad_files_never_stop_a_batch_and_are_told_in_one_line_each(bench: Bench):
    make(in__a="one", in__b="BAD", in__c="BOOM", in__d="four")
    Path("in/e.wav").symlink_to("gone.wav")
    assert bench.run("in", "missing.wav", output_dir="out", formats="txt") == 1
    assert tree() == ["in/a.txt", "in/d.txt"] or tree() == ["a.txt", "d.txt"]
    lines = bench.err.splitlines()
    assert "echoic: in/b.wav: is not sound; convert it to WAV" in lines
    boom = (
        "echoic: in/c.wav: ZeroDivisionError: division by zero (unexpected; --debug prints where)"
    )
    assert boom in lines
    assert "echoic: in/e.wav: no such file; check the path" in lines
    assert "echoic: missing.wav: no such file or folder; check the path" in lines
    assert lines[-1].startswith("echoic: 2 done, 4 failed, 0:00:07 of audio")
    listed = lines[lines.index("echoic: these failed:") + 1 : -1]
    assert sorted(line.split(": ")[1].strip() for line in listed) == [
        "in/b.wav",
        "in/c.wav",
        "in/e.wav",
        "missing.wav",
    ]
    assert "Traceback" not in bench.err


def test_debug_shows_where(bench: Bench):
    make(a="BOOM")
    assert bench.run("a.wav", debug=True) == 1
    assert "Traceback" in bench.err
    assert "in _hear" in bench.err


def test_nothing_is_loaded_when_all_inputs_are_missing(bench: Bench):
    assert bench.run("gone.wav") == 1
    assert bench.loads == 0


def test_quiet_leaves_results_and_errors(bench: Bench):
    make(in__a="one", in__b="BAD", in__deep__c="two")
    assert bench.run("in", quiet=True) == 1
    assert bench.err == "echoic: in/b.wav: is not sound; convert it to WAV\n"
    assert bench.out == "==> in/a.wav <==\none\n"


def test_fail_fast_stops_and_says_what_is_left(bench: Bench):
    make(**{f"in__{i}": "BAD" if i == 1 else str(i) for i in range(9)})
    assert bench.run("in", output_dir="out", formats="txt", fail_fast=True) == 1
    assert tree() == ["2.txt"]
    assert "stopped with 7 to do; the same command goes on from here" in bench.err


def test_sources_are_taken_lazily(bench: Bench):
    make(**{f"in__{i}": "CTRL-C" if i == 13 else str(i) for i in range(50)})
    started: list[str] = []
    bench.transcriber.before = lambda source: started.append(source.key)
    assert bench.run("in", json_lines=True) == 130
    assert len(started) <= 6  # keys sort as 0 1 10 11 12 13 and three are in flight


def test_ctrl_c_keeps_what_is_done_and_exits_with_130(bench: Bench):
    make(in__a="one", in__b="two", in__c="three", in__d="four", in__e="CTRL-C", in__f="six")
    assert bench.run("in", output_dir="out", formats="txt") == 130
    assert tree() == ["a.txt", "b.txt", "c.txt", "f.txt"]
    assert "interrupted with 2 to do; the same command goes on from here" in bench.err
    make(in__e="five")
    assert bench.run("in", output_dir="out", formats="txt") == 0
    assert sorted(bench.transcriber.heard) == ["d", "e"]


def test_ctrl_c_prints_finished_text(bench: Bench):
    make(in__a="one", in__b="two", in__c="CTRL-C")
    bench.transcriber.window = 1
    assert bench.run("in") == 130
    assert bench.out == "==> in/a.wav <==\none\n\n==> in/b.wav <==\ntwo\n"


def test_a_model_that_cannot_be_loaded_is_wrong_usage(bench: Bench):
    make(a="one")

    def load() -> FakeTranscriber:
        raise ValueError("model 'huge' is unknown; echoic models lists them")

    assert bench.run("a.wav", load=load) == 2
    assert bench.err == "echoic: model 'huge' is unknown; echoic models lists them\n"


def test_a_bug_in_loading_is_one_line(bench: Bench):
    make(a="one")

    def load() -> FakeTranscriber:
        raise RuntimeError("CUDA\nfell over")

    assert bench.run("a.wav", load=load) == 1
    message = "RuntimeError: CUDA fell over (unexpected; --debug prints where)"
    assert bench.err == f"echoic: {message}\n"


class Broken(FakeTranscriber):
    """Dies in the middle of a batch, as a GPU may."""

    def transcribe_many(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from list(super().transcribe_many(*args, **kwargs))[:2]
        raise RuntimeError("out of memory")


class Forgetful(FakeTranscriber):
    """Yields nothing for its first source."""

    def transcribe_many(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from list(super().transcribe_many(*args, **kwargs))[1:]


def test_a_transcriber_that_dies_leaves_what_is_done(bench: Bench):
    make(in__a="one", in__b="two", in__c="three")
    assert bench.run("in", output_dir="out", formats="txt", load=Broken) == 1
    assert len(tree()) == 2
    assert "echoic: the batch: RuntimeError: out of memory" in bench.err
    assert "stopped with 1 to do" in bench.err


def test_a_source_without_an_outcome_is_a_failure(bench: Bench):
    make(in__a="one", in__b="two")
    assert bench.run("in", output_dir="out", formats="txt", load=Forgetful) == 1
    assert "in/b.wav: RuntimeError: the transcriber returned no result for it" in bench.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"json_lines": True, "formats": "srt"}, "add -o DIR"),
        ({"formats": "srt,txt"}, "say where with -o DIR"),
        ({"batch_size": 0}, "it must be 1 or more"),
    ],
)
def test_requests_that_make_no_sense(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Request(("a.wav",), **settings)


def test_a_full_disk_is_one_line_and_keeps_what_is_done(bench: Bench, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted; the next test simulates a full disk")
    try:
        make(**{f"in__{i:02d}": "x" * 9000 for i in range(20)})
        assert bench.run("in", output_dir=str(disk), formats="txt") == 1
        assert "No space left on device; free some space and run the same command" in bench.err
        assert "Traceback" not in bench.err
        done = sorted(disk.glob("*.txt"))
        assert 2 < len(done) < 12
        assert all(len(path.read_text()) == 9001 for path in done)
        assert not list(disk.glob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert bench.run("in", output_dir=str(disk), formats="txt") == 0
        assert len(list(disk.glob("*.txt"))) == 20
        assert len(bench.transcriber.heard) == 20 - len(done)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert bench.run("in", output_dir=str(disk), formats="txt") == 1
        assert "Read-only file system; choose another folder with -o" in bench.err
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("number", "codes"), [(errno.ENOSPC, "stopped with 4 to do"), (errno.EACCES, "3 done, 2 fail")]
)
def test_errors_of_writing(bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, codes: str):
    make(**{f"in__{i}": str(i) for i in range(5)})
    write = outputs.write_whole

    def refuse(path: str, data: bytes, token: str) -> None:
        if path.endswith(("1.txt", "4.txt")):
            raise OSError(number, os.strerror(number), path)
        write(path, data, token)

    monkeypatch.setattr(outputs, "write_whole", refuse)
    assert bench.run("in", output_dir="out", formats="txt") == 1
    assert codes in bench.err
    assert f"echoic: out/1.txt: cannot write: {os.strerror(number)}; " in bench.err


def test_an_output_folder_that_is_a_file(bench: Bench):
    make(a="one")
    Path("out").write_text("")
    assert bench.run("a.wav", output_dir="out") == 1
    assert bench.err.startswith("echoic: out: cannot write: File exists; a file is in the way")
    assert bench.loads == 0

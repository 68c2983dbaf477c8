"""The whole way from a request to files and exit code, with a recogniser that reads text."""

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_transcriber import FakeOptions, FakeTranscriber, NotSoundError

from echoic.asr.batch import outputs
from echoic.asr.batch.engine import BatchTranscriber
from echoic.asr.batch.job import Model, Request, run_job
from echoic.asr.batch.naming import Shard
from echoic.asr.batch.subtitles import Layout


@dataclass
class Bench:
    """Runs requests in an empty folder and keeps what was printed and who was asked."""

    capture: pytest.CaptureFixture[str]
    transcriber: FakeTranscriber = field(default_factory=FakeTranscriber)
    loads: int = 0
    out: str = ""
    err: str = ""

    def run(
        self,
        *inputs: str,
        options: FakeOptions | None = None,
        load: Callable[[], BatchTranscriber[Any]] | None = None,
        **settings: Any,
    ) -> int:
        model = Model(
            load or self._load,
            options or FakeOptions(),
            {"model": "fake"},
            frozenset({".wav", ".mp3"}),
            lambda source: None,
            (NotSoundError,),
        )
        code = run_job(Request(tuple(inputs), **settings), model)
        self.out, self.err = self.capture.readouterr()
        return code

    def _load(self) -> FakeTranscriber:
        self.loads += 1
        self.transcriber.heard.clear()
        return self.transcriber


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(capsys)


def make(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tree(folder: str = "out") -> list[str]:
    paths = (p for p in Path(folder).rglob("*") if p.is_file())
    return sorted(str(p.relative_to(folder)) for p in paths if p.suffix != ".jsonl")


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


def test_resume_skips_what_is_done_and_says_so(bench: Bench):
    make(in__a="one", in__b="BAD", in__c="three")
    assert bench.run("in", output_dir="out", formats="txt") == 1
    make(in__b="two", in__d="four")
    assert bench.run("in", output_dir="out", formats="txt") == 0
    assert sorted(bench.transcriber.heard) == ["b", "d"]  # what failed is tried again
    assert "2 of 4 are done already in out; --overwrite does them again" in bench.err
    loads = bench.loads
    assert bench.run("in", output_dir="out", formats="txt") == 0
    assert bench.loads == loads  # no model for nothing


def changed_audio() -> dict[str, Any]:
    make(in__a="longer than it was")
    return {}


def touched_audio() -> dict[str, Any]:
    os.utime("in/a.wav", ns=(0, 1))
    return {}


def lost_output() -> dict[str, Any]:
    os.unlink("out/a.txt")
    return {}


@pytest.mark.parametrize(
    "change",
    [
        changed_audio,
        touched_audio,
        lost_output,
        lambda: {"options": FakeOptions(language="de")},
        lambda: {"formats": "txt,srt"},
        lambda: {"layout": Layout(max_line_width=20)},
        lambda: {"overwrite": True},
    ],
)
def test_what_makes_a_file_be_done_again(bench: Bench, change: Callable[[], dict[str, Any]]):
    make(in__a="one")
    assert bench.run("in", output_dir="out", formats="txt,tsv") == 0
    settings: dict[str, Any] = {"formats": "txt,tsv"} | change()
    bench.transcriber.heard.clear()
    assert bench.run("in", output_dir="out", **settings) == 0
    assert bench.transcriber.heard == ["a"]


def test_fewer_formats_need_no_new_run(bench: Bench):
    make(in__a="one")
    assert bench.run("in", output_dir="out") == 0
    assert bench.run("in", output_dir="out", formats="srt") == 0
    assert bench.loads == 1


def test_a_recording_that_grows_while_it_is_read_is_done_again(bench: Bench):
    make(in__a="one")
    bench.transcriber.before = lambda source: make(in__a="one and more")
    assert bench.run("in", output_dir="out", formats="txt") == 0
    bench.transcriber.before = lambda source: None
    assert bench.run("in", output_dir="out", formats="txt") == 0
    assert bench.loads == 2


def test_files_of_others_are_not_replaced_unless_told(bench: Bench):
    make(in__a="one")
    Path("in/a.txt").write_text("the reference, typed by hand")
    assert bench.run("in", output_dir="in", formats="txt") == 2
    assert "in/a.txt is not from this command; choose another folder with -o" in bench.err
    assert Path("in/a.txt").read_text() == "the reference, typed by hand"
    assert bench.run("in", output_dir="in", formats="txt", overwrite=True) == 0
    assert Path("in/a.txt").read_text() == "one\n"
    assert bench.run("in", output_dir="in", formats="txt") == 0


def test_another_recording_of_the_same_name_does_not_replace_the_first(bench: Bench):
    make(x__a="one", y__a="two")
    assert bench.run("x", output_dir="out", formats="txt") == 0
    assert bench.run("y", output_dir="out", formats="txt") == 2
    assert "out/a.txt was made from " in bench.err
    assert Path("out/a.txt").read_text() == "one\n"


def test_a_moved_folder_is_still_known(bench: Bench):
    make(x__a="one")
    assert bench.run("x", output_dir="out", formats="txt") == 0
    os.rename("x", "z")
    assert bench.run("z", output_dir="out", formats="txt") == 0
    assert bench.loads == 1


def test_shards_write_one_folder_together(bench: Bench):
    make(**{f"in__{i}": str(i) for i in range(30)})
    for i in (1, 2, 3):
        code = bench.run("in", output_dir="out", formats="txt", shard=Shard(i, 3))
        assert code == 0
    assert len(tree()) == 30
    assert len(list(Path("out").glob(".echoic-transcribe.*-of-3.jsonl"))) == 3
    loads = bench.loads
    assert bench.run("in", output_dir="out", formats="txt") == 0  # the whole knows its parts
    assert bench.loads == loads


def test_an_empty_shard_is_no_error(bench: Bench):
    make(a="one")
    codes = [bench.run("a.wav", output_dir="out", shard=Shard(i, 9)) for i in range(1, 10)]
    assert codes == [0] * 9
    assert bench.loads == 1


def test_same_stem_keeps_both(bench: Bench):
    make(in__a="one")
    Path("in/a.mp3").write_text("two")
    assert bench.run("in", output_dir="out", formats="txt") == 0
    assert tree() == ["a.mp3.txt", "a.wav.txt"]


def test_names_that_are_not_utf8(bench: Bench):
    os.mkdir("in")
    name = os.fsdecode(b"in/caf\xe9.wav")
    Path(name).write_text("one")
    Path(os.fsdecode(b"in/b\xff.wav")).write_text("BAD")
    assert bench.run("in", output_dir="out", formats="txt", json_lines=True) == 1
    assert os.listdir(b"out").count(b"caf\xe9.txt") == 1
    assert name in {json.loads(line)["audio"] for line in bench.out.splitlines()}
    assert "echoic: in/b\ufffd.wav: is not sound" in bench.err
    assert bench.run("in", output_dir="out", formats="txt") == 1
    assert "1 of 2 are done already" in bench.err


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
    assert bench.err.startswith("echoic: out: cannot write: File exists; choose another folder")
    assert bench.loads == 0

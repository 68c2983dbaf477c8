"""Output folders that are written twice: what is done again, what is kept, who owns a file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_bench import Bench, make, tree
from fake_transcriber import FakeOptions

from echoic.asr.batch.naming import Shard
from echoic.asr.batch.subtitles import Layout


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

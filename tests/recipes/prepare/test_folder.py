"""`echoic prepare folder`: texts beside recordings; and what is left when it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grids import write_grid
from small_corpora import prepare, read_rows, write_pairs, write_text, write_tone

from echoic.audio.data.validate import check

ECHOIC = Path(sys.executable).with_name("echoic")
SRT = """1
00:00:00,000 --> 00:00:00,250
One <i>two</i>

2
00:00:00,250 --> 00:00:09,000
three
four
"""


def rows_of(source: Path, *options: str) -> list[dict]:
    out = source.parent / "m.jsonl"
    result = prepare("folder", source, out, "--lang", "en", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    return read_rows(out)


def test_each_cue_is_an_utterance(tmp_path: Path):
    source = tmp_path / "talks"
    write_tone(source / "anna" / "1.flac", 0.5)
    write_text(source / "anna" / "1.srt", SRT)
    write_text(source / "anna" / "1.txt", "not this")
    rows = rows_of(source, "--speaker-folders", "--split", "dev")
    assert rows == [
        {
            "audio": "talks/anna/1.flac",
            "id": f"anna/1-000{number}",
            "offset": offset,
            "duration": 0.25,
            "text": text,
            "lang": "en",
            "speaker": "anna",
            "split": "dev",
        }
        for number, offset, text in [(1, 0.0, "One two"), (2, 0.25, "three four")]
    ]
    assert check(tmp_path / "m.jsonl").problems == []
    assert [row["text"] for row in rows_of(source, "--texts", "txt", "--overwrite")] == ["not this"]


def test_intervals_of_a_tier(tmp_path: Path):
    source = tmp_path / "grids"
    write_tone(source / "a.wav", 1.0)
    write_grid(source / "a.TextGrid", [(0.1, 0.3, "go"), (0.3, 0.4, "sil"), (0.5, 0.9, "on")])
    out = tmp_path / "m.jsonl"
    result = prepare("folder", source, out, "--lang", "en")
    assert result.exit_code == 1
    assert "a.TextGrid: name one of its tiers; it has phones, words" in result.stderr
    result = prepare("folder", source, out, "--lang", "en", "--tier", "word")
    assert "no tier 'word' of intervals; it has phones, words" in result.stderr
    rows = rows_of(source, "--tier", "words")
    assert [(r["offset"], r["duration"], r["text"]) for r in rows] == [
        (0.1, 0.2, "go"),
        (0.5, 0.4, "on"),
    ]


def test_cues_beyond_the_end_are_told(tmp_path: Path):
    source = tmp_path / "talks"
    write_tone(source / "1.wav", 0.2)
    write_text(source / "1.srt", SRT)
    result = prepare("folder", source, tmp_path / "m.jsonl", "--lang", "en")
    assert result.exit_code == 1
    assert (
        f"{source / '1.wav'}: it lasts 0.200 s, and 1-0002 is to begin at 0.250 s; mend its times"
        in result.stderr
    )
    assert [row["duration"] for row in read_rows(tmp_path / "m.jsonl")] == [0.2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--lang", "en"], "nowhere: no recordings; expected some such as NAME.wav"),
        (["."], "Missing option '--lang'"),
    ],
)
def test_wrong_usage(words: list[str], message: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = prepare("folder", words[0], "m.jsonl", *words[1:])
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_killed_it_goes_on(tmp_path: Path):
    names = [f"{number:02d}" for number in range(12)]
    source = write_pairs(tmp_path / "source", names)
    (whole, killed), words = [tmp_path / f"{n}.jsonl" for n in ("whole", "killed")], ("--lang=en",)
    assert prepare("folder", source, whole, *words).exit_code == 0
    # Whoever opens a pipe that nobody writes to waits: so it is killed in the middle for sure.
    there = (source / "07.wav").rename(tmp_path / "07.wav")
    os.mkfifo(source / "07.wav")
    process = subprocess.Popen([ECHOIC, "prepare", "folder", source, killed, *words])
    unfinished = tmp_path / "killed.jsonl.unfinished"
    deadline = time.monotonic() + 300
    while not unfinished.exists() or unfinished.read_bytes().count(b"\n") < 7:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists()
    there.replace(source / "07.wav")
    for name in names[:7]:  # their rows are kept, or this is told
        (source / f"{name}.wav").write_bytes(b"no sound")
    result = prepare("folder", source, killed, *words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("12 utterances, 0.00 hours, 7 kept\n")
    assert killed.read_bytes() == whole.read_bytes()
    assert not unfinished.exists()

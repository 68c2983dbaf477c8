"""`echoic transcribe`, killed again and again, and started again: the files that it would write."""

import collections
import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from real_command import start
from speech_data import PROMPTS, utterances

WORDS = ("in", "-o", "out", "-f", "txt,srt,json", "--batch-size", "2", "--dtype", "float32")


def make_inputs(folder: Path, copies: int, prompts: int) -> int:
    """Fill a folder with short recordings; returns how many."""
    (folder / "in").mkdir(parents=True)
    paths = [u.path for u in utterances(PROMPTS)][:prompts]
    for number in range(copies):
        for path in paths:
            (folder / "in" / f"{number:02d}-{path.name}").write_bytes(path.read_bytes())
    return copies * len(paths)


def texts_in(folder: Path) -> int:
    return len(list(folder.glob("out/*.txt")))


def wait_for(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    while texts_in(folder) < count and process.poll() is None:
        time.sleep(0.002)


def outputs(folder: Path) -> dict[str, object]:
    """What stands in each file of text, subtitles and segments."""
    found: dict[str, object] = {}
    for path in (folder / "out").iterdir():
        if path.suffix in (".txt", ".srt"):
            found[path.name] = path.read_text()
        elif path.suffix == ".json":
            segments = json.loads(path.read_text())["segments"]
            found[path.name] = [(s["start"], s["end"], s["text"]) for s in segments]
        else:
            assert path.name == ".echoic-transcribe.jsonl", "nothing half-written is left"
    return found


def times_done(folder: Path) -> collections.Counter[str]:
    lines = (folder / "out" / ".echoic-transcribe.jsonl").read_bytes().splitlines()
    events = (json.loads(line) for line in lines if line.endswith(b"}"))
    return collections.Counter(line["key"] for line in events if line["event"] == "done")


@pytest.mark.parametrize(
    ("kills", "copies", "prompts"), [(2, 3, 6), pytest.param(10, 5, 20, marks=pytest.mark.slow)]
)
def test_killed_and_run_again(kills: int, copies: int, prompts: int, tmp_path: Path) -> None:
    rng = random.Random(kills)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    count = make_inputs(whole, copies, prompts)
    make_inputs(folder, copies, prompts)
    unharmed = start(*WORDS, cwd=whole)
    for number in range(kills):
        process = start(*WORDS, cwd=folder)
        if number % 4 == 3:  # while it starts
            time.sleep(rng.uniform(0.0, 3.0))
        else:
            wait_for(process, folder, texts_in(folder) + rng.randint(1, 4))
            time.sleep(rng.uniform(0.0, 0.05))
        process.kill()
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors
    for process in (start(*WORDS, cwd=folder), unharmed):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert len(outputs(whole)) == 3 * count
    assert outputs(folder) == outputs(whole)
    assert times_done(folder) == times_done(whole)
    assert set(times_done(folder).values()) == {1}

"""Runs that are really killed: whatever the moment, the next run goes on with nothing lost."""

import collections
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FILES = 60
DRIVER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from fake_transcriber import FakeOptions, FakeTranscriber
from echoic.asr.batch.job import Model, Request, run_job
from echoic.asr.batch.naming import Shard

shard = Shard.parse(sys.argv[1]) if len(sys.argv) > 1 else None
model = Model(
    lambda: FakeTranscriber(delay=0.004), FakeOptions(), {{}}, frozenset({{".wav"}}), lambda s: None
)
request = Request(("in",), output_dir="out", formats="txt,json,srt", recursive=True, shard=shard)
sys.exit(run_job(request, model))
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def make_inputs(folder: Path) -> None:
    for i in range(FILES):
        path = folder / "in" / str(i % 5) / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is recording {i}")


def check_whole(folder: Path) -> int:
    """Check that each file below out/ is complete; returns how many texts there are."""
    texts = list((folder / "out").rglob("*.txt"))
    for path in texts:
        assert path.read_text() == f"this is recording {path.stem}\n"
    for path in (folder / "out").rglob("*.json"):
        assert json.loads(path.read_text())["text"] == f"this is recording {path.stem}"
    for path in (folder / "out").rglob("*.srt"):
        assert path.read_text().endswith(f"this is recording {path.stem}\n\n")
    return len(texts)


def done_events(folder: Path) -> collections.Counter[str]:
    events: collections.Counter[str] = collections.Counter()
    for path in (folder / "out").glob(".echoic-transcribe*.jsonl"):
        for data in path.read_bytes().splitlines():
            try:
                line = json.loads(data)
            except ValueError:
                continue
            if line["event"] == "done":
                events[line["key"]] += 1
    return events


def wait_for_outputs(folder: Path, process: subprocess.Popen[str], more_than: int) -> None:
    while process.poll() is None and len(list(folder.rglob("out/*/*.txt"))) <= more_than:
        time.sleep(0.001)


def test_killed_at_random_moments(tmp_path: Path):
    make_inputs(tmp_path)
    rng = random.Random(3)
    kills = 0
    for _ in range(6):
        process = start(tmp_path)
        wait_for_outputs(tmp_path, process, len(list(tmp_path.rglob("out/*/*.txt"))))
        time.sleep(rng.uniform(0.0, 0.05))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        before = done_events(tmp_path)
        assert check_whole(tmp_path) >= len(before)  # a file may be in place and not yet noted
    assert kills >= 4
    last = start(tmp_path)
    _, errors = last.communicate(timeout=60)
    assert last.returncode == 0, errors
    assert check_whole(tmp_path) == FILES
    assert set(done_events(tmp_path).values()) == {1}  # nothing was done twice
    assert len(done_events(tmp_path)) == FILES
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_shards_at_the_same_time_and_one_killed(tmp_path: Path):
    make_inputs(tmp_path)
    first, second = start(tmp_path, "1/2"), start(tmp_path, "2/2")
    wait_for_outputs(tmp_path, first, 10)
    first.kill()
    first.communicate()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    rest = start(tmp_path)
    _, errors = rest.communicate(timeout=60)
    assert rest.returncode == 0, errors
    assert check_whole(tmp_path) == FILES
    assert set(done_events(tmp_path).values()) == {1}
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_signals_leave_no_temporary_files_and_say_how_to_go_on(tmp_path: Path):
    make_inputs(tmp_path)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start(tmp_path)
        wait_for_outputs(tmp_path, process, len(list(tmp_path.rglob("out/*/*.txt"))))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "the same command goes on from here" in errors
        assert "Traceback" not in errors
        assert not list((tmp_path / "out").rglob("*.tmp"))
    check_whole(tmp_path)


SUICIDE = """
import os, signal
replace, calls = os.replace, [0]

def replace_or_die(*paths):
    calls[0] += 1
    if calls[0] == {moment}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)

os.replace = replace_or_die
"""


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_killed_between_the_outputs_of_one_recording(tmp_path: Path, moment: int):
    make_inputs(tmp_path)
    code = SUICIDE.format(moment=moment) + DRIVER
    died = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out").rglob("*.tmp"))) == 1
    assert sum(done_events(tmp_path).values()) == (moment - 1) // 3
    last = start(tmp_path)
    _, errors = last.communicate(timeout=60)
    assert last.returncode == 0, errors
    assert check_whole(tmp_path) == FILES
    assert set(done_events(tmp_path).values()) == {1}
    assert not list((tmp_path / "out").rglob("*.tmp"))

"""The real command, really killed or interrupted: nothing half-written, lost or done twice."""

import collections
import json
import signal
import subprocess
import time
from pathlib import Path

from real_command import DATA, SHORT, start

COPIES = 7
RECORDINGS = (SHORT, DATA / "sense-and-sensibility-0930.opus")
WORDS = ("in", "-o", "out", "-f", "txt,json", "--batch-size", "2", "--dtype", "float32")


def make_inputs(folder: Path) -> None:
    (folder / "in").mkdir()
    for i in range(COPIES):
        for path in RECORDINGS:
            (folder / "in" / f"{i:02d}-{path.stem}.opus").write_bytes(path.read_bytes())


def wait_for_outputs(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.glob("out/*.txt"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def check_whole(folder: Path) -> int:
    """Check that each text is the one of its recording; returns how many there are."""
    texts: dict[str, set[str]] = collections.defaultdict(set)
    paths = list(folder.glob("out/*.txt"))
    for path in paths:
        texts[path.stem.partition("-")[2]].add(path.read_text())
    for path in folder.glob("out/*.json"):
        found = json.loads(path.read_text())
        texts[path.stem.partition("-")[2]].add(
            "".join(f"{s['text'].strip()}\n" for s in found["segments"])
        )
    assert all(len(variants) == 1 for variants in texts.values()), texts
    return len(paths)


def times_done(folder: Path) -> collections.Counter[str]:
    lines = (folder / "out" / ".echoic-transcribe.jsonl").read_bytes().splitlines()
    events = (json.loads(line) for line in lines if line.endswith(b"}"))
    return collections.Counter(line["key"] for line in events if line["event"] == "done")


def test_killed_in_the_middle_and_run_again(tmp_path: Path):
    make_inputs(tmp_path)
    killed = start(*WORDS, cwd=tmp_path)
    wait_for_outputs(tmp_path, killed, 3)
    killed.kill()
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    done_before = set(times_done(tmp_path))
    assert 2 <= len(done_before) < 2 * COPIES
    check_whole(tmp_path)
    again = start(*WORDS, cwd=tmp_path)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    assert f"{len(done_before)} of {2 * COPIES} are done already in out" in errors
    assert check_whole(tmp_path) == 2 * COPIES
    times = times_done(tmp_path)
    assert len(times) == 2 * COPIES
    assert set(times.values()) == {1}
    assert not list(tmp_path.rglob("*.tmp"))


def test_control_c_leaves_whole_files_only(tmp_path: Path):
    make_inputs(tmp_path)
    process = start(*WORDS, cwd=tmp_path)
    wait_for_outputs(tmp_path, process, 3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    done = len(times_done(tmp_path))
    # Between the files of one recording there is a moment when it has some, and is not done.
    assert 2 <= done <= check_whole(tmp_path) <= done + 1
    assert done < 2 * COPIES
    left = f"interrupted with {2 * COPIES - done} to do; the same command goes on from here"
    assert left in errors.splitlines()[-1]
    assert not list(tmp_path.rglob("*.tmp"))

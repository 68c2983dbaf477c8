"""Batches on a real Ray cluster of two workers: one is killed, or this process is."""

import collections
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray_cluster
from fake_transcriber import FakeOptions

from echoic.asr.batch.job import Model, Request, run_job
from echoic.asr.on_ray import RayTranscriber
from echoic.audio.data import ray_pool
from echoic.audio.data.cluster import Cluster, RemoteError, Workers

pytestmark = ray_cluster.needed
FILES = 24
TWO = Cluster(workers=Workers(2, 2))


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    with ray_cluster.started():
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where commands are typed, with recordings and a list of processes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pids").mkdir()
    (tmp_path / "in").mkdir()
    for i in range(FILES):
        (tmp_path / "in" / f"{i:02d}.wav").write_text(f"this is recording {i:02d}")
    return tmp_path


def run(folder: Path, **settings: Any) -> int:
    load = functools.partial(ray_cluster.load_mortal, folder)
    model = Model(
        lambda: RayTranscriber(load, TWO),
        FakeOptions(),
        {},
        frozenset({".wav"}),
        lambda s: None,
        (RemoteError,),
    )
    return run_job(Request(("in",), batch_size=4, **settings), model)


def times_done(folder: Path) -> collections.Counter[str]:
    lines = (folder / "out" / ".echoic-transcribe.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines if line.endswith(b"}")]
    return collections.Counter(line["key"] for line in events if line["event"] == "done")


def check_whole(folder: Path) -> int:
    """Check that each text is the one of its recording; returns how many there are."""
    texts = list((folder / "out").glob("*.txt"))
    for path in texts:
        assert path.read_text() == (folder / "in" / f"{path.stem}.wav").read_text() + "\n"
    return len(texts)


@pytest.mark.usefixtures("_ray")
def test_a_worker_is_killed_and_nothing_is_lost_or_done_twice(folder, capsys):
    (folder / "marker").touch()
    (folder / "in" / "05.wav").write_text("ONCE upon a time")
    assert run(folder, output_dir="out", formats="txt") == 0
    assert not (folder / "marker").exists()
    assert len(list((folder / "pids").iterdir())) >= 3  # two, and who came after the killed one
    assert check_whole(folder) == FILES
    assert set(times_done(folder).values()) == {1}
    assert len(times_done(folder)) == FILES
    assert not list(folder.rglob("*.tmp"))
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"echoic: {FILES} done, 0 failed")


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_recording_that_kills_each_worker_fails_alone(folder, capsys, monkeypatch):
    monkeypatch.setattr(ray_pool, "_RETRIES", 1)
    (folder / "in" / "05.wav").write_text("PILL")
    assert run(folder, json_lines=True) == 1
    said = capsys.readouterr()
    results = [json.loads(line) for line in said.out.splitlines()]
    assert sorted(Path(result["audio"]).name for result in results) == sorted(
        path.name for path in (folder / "in").iterdir()
    )
    (failed,) = [result for result in results if "error" in result]
    assert failed["audio"] == "in/05.wav"
    problem, summary = said.err.splitlines()
    died = "its worker died each time; see whether its memory is enough"
    assert problem == f"echoic: in/05.wav: {died}"
    assert summary.startswith(f"echoic: {FILES - 1} done, 1 failed")


DRIVER = f"""
import sys
sys.path.insert(0, {str(ray_cluster.TESTS)!r})
from functools import partial
from pathlib import Path
from fake_transcriber import FakeOptions
from ray_cluster import load_mortal
from echoic.asr.batch.job import Model, Request, run_job
from echoic.asr.on_ray import RayTranscriber
from echoic.audio.data.cluster import Cluster, Workers

load = partial(load_mortal, Path.cwd(), delay=0.1)
model = Model(
    lambda: RayTranscriber(load, Cluster(workers=Workers(2, 2))),
    FakeOptions(), {{}}, frozenset({{".wav"}}), lambda s: None,
)
sys.exit(run_job(Request(("in",), output_dir="out", formats="txt", batch_size=2), model))
"""


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ray_cluster.TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_outputs(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + 300
    while len(list(folder.glob("out/*.txt"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_end_of_workers(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while any(Path("/proc", path.name).exists() for path in (folder / "pids").iterdir()):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_the_driver_is_killed_and_the_same_command_goes_on(folder):
    killed = start(folder)
    wait_for_outputs(folder, killed, 4)
    killed.kill()
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    before = len(times_done(folder))
    assert 3 <= before < FILES
    check_whole(folder)
    wait_for_end_of_workers(folder)
    again = start(folder)
    out, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert out == ""
    already, summary = errors.splitlines()
    assert f"{before} of {FILES} are done already in out" in already
    assert f"{FILES - before} done, 0 failed" in summary
    assert check_whole(folder) == FILES
    assert set(times_done(folder).values()) == {1}
    assert len(times_done(folder)) == FILES
    assert not list(folder.rglob("*.tmp"))
    wait_for_end_of_workers(folder)

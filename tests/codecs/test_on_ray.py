"""`echoic codec encode --engine ray` on a real cluster of two workers, one of which is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray_cluster
from codec_command import codec, done, noise_file, only_problem
from mortal_coding import mortal
from pretended_ray import pretend
from tiny_codec import saved_codec

from echoic.audio.data import cluster
from echoic.audio.data.cluster import ClusterLost
from echoic.codecs.jobs import on_ray

FILES = 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where commands are typed, with a codec and recordings."""
    monkeypatch.chdir(tmp_path)
    saved_codec(tmp_path / "tiny")
    for i in range(FILES):
        noise_file(tmp_path / "in" / f"{i}.wav", 0.3 + i / 10)
    return tmp_path


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    with ray_cluster.started():
        yield


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


RAY = ("--engine", "ray", "--workers", "2")


def check_as_here(folder: Path) -> None:
    """Check that workers code what this process codes, and that the same is told."""
    (folder / "in" / "bad.wav").write_text("no sound")
    here = codec("encode", "in", "-o", "here", "-m", "tiny")
    there = codec("encode", "in", "-o", "there", "-m", "tiny", *RAY)
    assert here.exit_code == there.exit_code == 1
    assert contents(folder / "there") == contents(folder / "here")
    assert len(contents(folder / "there")) == FILES
    assert there.stdout == ""
    said, expected = (result.stderr.splitlines() for result in (there, here))
    assert said[0] == expected[0]
    assert said[0].startswith("echoic: in/bad.wav: ")
    assert said[1].startswith(f"echoic: {FILES} coded, 1 failed, ")
    assert len(said) == len(expected) == 2


def test_the_same_files_and_problems_as_on_one_machine(folder, monkeypatch):
    pretend(monkeypatch)
    check_as_here(folder)
    (folder / "in" / "bad.wav").unlink()
    (folder / "there" / "3.echo").unlink()
    again = done("encode", "in", "-o", "there", "-m", "tiny", *RAY).stderr
    assert f"{FILES - 1} were done already in there" in again
    assert "1 coded, 0 failed" in again
    assert contents(folder / "there") == contents(folder / "here")


@ray_cluster.needed
@pytest.mark.usefixtures("_ray")
def test_a_worker_is_killed_and_nothing_is_lost(folder, monkeypatch):
    (folder / "marker").touch()
    monkeypatch.setattr(on_ray, "Coding", mortal(folder / "marker"))
    check_as_here(folder)
    assert not (folder / "marker").exists()


def test_ray_fails_on_the_way(folder, monkeypatch):
    def fail(lines: list[str]) -> list[str]:
        if any('4.echo"' in line for line in lines):
            raise ClusterLost("Ray failed (Odd: gone); see whether it still runs")
        return lines

    pretend(monkeypatch, fail)
    result = codec("encode", "in", "-o", "out", "-m", "tiny", *RAY)
    assert result.exit_code == 1
    summary, line = result.stderr.splitlines()
    assert summary.startswith("echoic: 4 coded, 0 failed")
    assert line.endswith("see whether it still runs; the same command goes on from here")
    assert "4 were done already" in done("encode", "in", "-o", "out", "-m", "tiny").stderr


def test_standard_input_is_not_coded(folder, monkeypatch):
    pretend(monkeypatch)
    result = codec("encode", "-", "-o", "out", "-m", "tiny", *RAY)
    assert "write it to a file" in only_problem(result, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "out", "--workers", "2"], "--address and --workers are for Ray; add --engine ray"),
        (["out.echo", "--engine", "ray"], "say where to with -o DIR"),
        (["-o", "out", "--engine", "ray", "--workers", "no"], "write it as 2 or 1:8"),
        (["-o", "out", "--engine", "ray", "--device", "cuda:1"], "take cuda"),
    ],
)
def test_wrong_usage(folder, monkeypatch, words, message):
    pretend(monkeypatch)
    assert message in only_problem(codec("encode", "in/0.wav", "-m", "tiny", *words), 2)


def test_without_ray(folder, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    line = only_problem(codec("encode", "in", "-o", "out", "--engine", "ray"), 2)
    assert line == "Ray is not installed; pip install 'echoic[ray]'"
    assert not (folder / "out").exists()

"""Outputs that cannot be written: one line, nothing half-written, and the next run goes on."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_command import DATA, RECORDINGS, SHORT, Command, only_problem, problems, start

from echoic.asr.batch import outputs

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount | None]:
    """A function that mounts memory with options at "disk"; None where only root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        subprocess.run(line, check=True, capture_output=True)
        return folder

    try:
        mounted("size=64k")
    except (subprocess.CalledProcessError, FileNotFoundError):
        yield None
        return
    yield mounted
    while os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.tmp")]


@pytest.mark.parametrize("folder", ["file", "file/below", "/dev/null", "/dev/null/below"])
def test_a_file_stands_in_the_way(command: Command, folder: str):
    Path("file").write_text("mine")
    result = command.type(SHORT, "-o", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    line = only_problem(result)
    assert line.startswith(f"{folder}: cannot write: ")
    assert line.endswith("; a file is in the way, choose another folder with -o")
    assert Path("file").read_text() == "mine"


def test_a_folder_stands_where_an_output_goes(command: Command):
    taken = Path("out", SHORT.stem + ".txt")
    taken.mkdir(parents=True)
    refused = command.type(SHORT, "-o", "out", "-f", "txt")
    assert refused.exit_code == 2
    assert only_problem(refused).startswith(f"{taken} is not from this command; choose another")
    failed = command.type(DATA, "-o", "out", "-f", "txt", "--overwrite", "-q")
    assert failed.exit_code == 1
    assert failed.stderr.startswith(
        f"echoic: {taken}: cannot write: Is a directory; a folder is in the way, remove it"
    )
    assert len([p for p in Path("out").glob("*.txt") if p.is_file()]) == len(RECORDINGS) - 1
    assert not leftovers(Path("out"))


def test_a_disk_that_cannot_be_written(
    command: Command, mount: Mount | None, monkeypatch: pytest.MonkeyPatch
):
    if mount is not None:
        mount("ro")
    else:
        Path("disk").chmod(0o555)
    result = command.type(SHORT, "-o", "disk/out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert only_problem(result).startswith("disk/out: cannot write: ")
    assert "; choose another folder with -o" in result.stderr


def test_a_disk_that_runs_full_and_is_emptied(
    command: Command, mount: Mount | None, monkeypatch: pytest.MonkeyPatch
):
    words = (DATA, "-o", "disk", "-f", "txt,srt,json", "--batch-size", "1")
    with monkeypatch.context() as patch:
        if mount is not None:
            Path("disk", "ballast").write_bytes(bytes(64 * 1024 - 4 * 4096))
        else:
            patch.setattr(outputs.os, "fsync", _disk_full)
        full = command.type(*words)
    assert full.exit_code == 1
    told = [line for line in problems(full) if "No space left on device" in line]
    assert len(told) == 1
    assert told[0].endswith("; free some space and run the same command again to go on")
    assert "the same command goes on from here" in problems(full)[-1]
    assert not leftovers(Path("disk"))
    assert all(path.read_text() for path in Path("disk").glob("*.txt"))
    if mount is not None:
        Path("disk", "ballast").unlink()
        mount("remount,size=1m")
    again = command.type(*words)
    assert again.exit_code == 0
    assert len(list(Path("disk").glob("*.srt"))) == len(RECORDINGS)


def _disk_full(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_standard_output_is_full(tmp_path: Path):
    with open("/dev/full", "w") as full:
        process = start(SHORT, "--dtype", "float32", cwd=tmp_path, stdout=full)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert problems(errors)[0].startswith("echoic: standard output: cannot write: No space left")
    assert "Traceback" not in errors

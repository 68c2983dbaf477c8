"""Where the checkpoints of a run are, in every layout that a recipe can ask for."""

import os
from pathlib import Path

import pytest

from echoic.recipes.run_folder import append_line, find_last, find_run, read_lines


def write(path: Path, age: int = 0) -> Path:
    """An empty file, some seconds old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def run(root: Path, number: int, *names: str) -> Path:
    folder = root / "lightning_logs" / f"version_{number}"
    write(folder / "config.yaml")
    for age, name in enumerate(names):
        write(folder / "checkpoints" / name, age)
    return folder


def test_the_newest_run_with_a_checkpoint_is_taken(tmp_path: Path) -> None:
    run(tmp_path, 2, "last.ckpt")
    newest = run(tmp_path, 10, "best-20.ckpt", "last.ckpt", "step=10.ckpt")
    run(tmp_path, 11)  # was stopped before its first checkpoint
    for path in (tmp_path, newest):
        found = find_run(path)
        assert found.folder == newest
        assert [p.name for p in found.checkpoints] == ["best-20.ckpt", "last.ckpt", "step=10.ckpt"]
        assert found.last.name == "last.ckpt"
    one = newest / "checkpoints" / "step=10.ckpt"
    assert find_run(one) == (newest, [one])


def test_checkpoints_that_a_recipe_puts_elsewhere(tmp_path: Path) -> None:
    folder = run(tmp_path, 0)
    last = write(tmp_path / "last.ckpt")
    assert find_run(tmp_path) == (folder, [last])
    assert find_last(tmp_path) is None
    assert find_last(tmp_path, [tmp_path]) == (folder, [last])


def test_a_run_without_a_logger(tmp_path: Path) -> None:
    write(tmp_path / "config.yaml")
    older = write(tmp_path / "checkpoints" / "last.ckpt", 5)
    newer = write(tmp_path / "checkpoints" / "last-v1.ckpt")
    assert find_run(tmp_path) == (tmp_path, [newer, older])
    assert find_run(tmp_path).last == newer
    assert find_last(tmp_path) == (tmp_path, [newer, older])


def test_last_is_of_the_newest_run_that_has_one(tmp_path: Path) -> None:
    assert find_last(tmp_path) is None
    run(tmp_path, 0, "last.ckpt")
    second = run(tmp_path, 1, "last.ckpt", "step=3.ckpt")
    run(tmp_path, 2, "step=1.ckpt")
    found = find_last(tmp_path)
    assert found is not None
    assert found == (second, [second / "checkpoints" / "last.ckpt"])


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run; give a folder"):
        find_run(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        find_run(tmp_path)


def test_lines_survive_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert read_lines(path) == []
    append_line(path, {"event": "start", "name": "ß"})
    with path.open("a") as file:
        file.write('{"event": "en\n')
    append_line(path, {"event": "start"})
    assert [line["event"] for line in read_lines(path)] == ["start", "start"]

"""The revision of a file: of its checkout, if one keeps it."""

import subprocess
from pathlib import Path

from echoic.recipes.revision import revision_of


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=A", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *names, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_of_a_file_that_is_kept_changed_or_only_lies_there(tmp_path: Path) -> None:
    kept, lies = tmp_path / "recipe.yaml", tmp_path / "notes.txt"
    kept.write_text("a: 1\n")
    lies.write_text("mine\n")
    assert revision_of(kept) is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", kept.name)
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert revision_of(kept) == (commit, False)
    assert revision_of(lies) is None
    kept.write_text("a: 2\n")
    assert revision_of(kept) == (commit, True)


def test_without_git(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision_of(Path(__file__)) is None

"""Which revision of its checkout a file is of."""

import subprocess
from pathlib import Path
from typing import NamedTuple

_SECONDS = 10


class Revision(NamedTuple):
    """A commit, and whether the checkout's files differ from it."""

    commit: str
    dirty: bool


def revision_of(file: Path) -> Revision | None:
    """Return the revision of the checkout that keeps a file; None where none does, or without git.

    A file that merely lies inside of a checkout, as in an environment there, is not kept by it.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    commit = _git(file.parent, "rev-parse", "HEAD")
    changes = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return Revision(commit, bool(changes))


def _git(folder: Path, *words: str) -> str | None:
    # Without locks: to look must not stand in the way of one who works there.
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

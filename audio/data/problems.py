"""What is wrong with lines of manifests: raised at the first, or listed by who passes over them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from echoic.audio.errors import one_line

_SHOWN = 10


class LineError(ValueError):
    """A line that is not what it ought to be.

    Attributes:
        what: is wrong with it.
        mend: what to do.
    """

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend


class Problem(NamedTuple):
    """Something wrong with a line of a file.

    Attributes:
        path: of the file.
        line: number, from 1.
        what: is wrong with it.
        mend: what to do.
    """

    path: Path
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{one_line(str(self.path))}, line {self.line}: {self.what}; {self.mend}"


class ManifestError(ValueError):
    """A manifest has a line that cannot be used; the message names file, line and mend."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def pass_over(path: Path, line: int, error: LineError, skipped: list[Problem] | None) -> None:
    """Note what is wrong with a line that is passed over.

    Args:
        path: the file.
        line: number of the line.
        error: what is wrong with it.
        skipped: the list to add it to; None where every line has to be right.

    Raises:
        ManifestError: it has to be.
    """
    problem = Problem(path, line, error.what, error.mend)
    if skipped is None:
        raise ManifestError(problem) from error
    skipped.append(problem)


def log_skipped(log: logging.Logger, skipped: Sequence[Problem]) -> None:
    """Warn of lines that were passed over: how many, and the first ten."""
    if not skipped:
        return
    for problem in skipped[:_SHOWN]:
        log.warning("left out: %s", problem)
    rest = len(skipped) - _SHOWN
    log.warning("%d lines left out%s", len(skipped), f", {rest} more than shown" * (rest > 0))

"""Manifests looked over before a run reads them: every line, and the files that they name."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from echoic.audio.data.manifest import Row, Source, lines_of, meets, row_of
from echoic.audio.data.problems import LineError, Problem, pass_over
from echoic.audio.errors import one_line

# Written by people and compared with text, so numbers would never be met.
_TEXTS = ("text", "lang", "split")
_NAMES = ("id", "speaker")


@dataclass(slots=True)
class Tally:
    """What the good lines of a manifest hold.

    Attributes:
        utterances: how many.
        seconds: of those that tell their duration.
        untold: how many do not.
        languages: utterances of each; "" for none.
    """

    utterances: int = 0
    seconds: float = 0.0
    untold: int = 0
    languages: Counter[str] = field(default_factory=Counter[str])
    _speakers: set[int] = field(default_factory=set[int])

    @property
    def speakers(self) -> int:
        """How many there are."""
        return len(self._speakers)

    def add(self, row: Row) -> None:
        """Count a row."""
        self.utterances += 1
        self.seconds += row.duration or 0.0
        self.untold += row.duration is None
        self.languages[row.values.get("lang") or ""] += 1
        speaker = row.values.get("speaker")
        if speaker is not None:
            self._speakers.add(hash(str(speaker)))


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a manifest.

    Attributes:
        problems: everything that is wrong with it, in the order of lines.
        tally: of the lines with which nothing is.
    """

    problems: list[Problem]
    tally: Tally


def check(path: Path | str, *, files: bool = True) -> Report:
    """Look over a manifest.

    Args:
        path: of the manifest.
        files: look whether the recordings are there, too; they are not decoded.

    Raises:
        OSError: the manifest cannot be read.
    """
    tally = Tally()
    return Report(list(find_problems(path, tally, files=files)), tally)


def find_problems(path: Path | str, tally: Tally, *, files: bool = True) -> Iterator[Problem]:
    """Yield what is wrong with a manifest, while it is read, and count what is right.

    Args:
        path: of the manifest.
        tally: to add the good lines to.
        files: look whether the recordings are there, too.

    Raises:
        OSError: the manifest cannot be read.
    """
    path, number, checker = Path(path), 0, _Checker(files)
    for number, line in lines_of(path):
        try:
            row = row_of(line, number, path.parent)
        except LineError as e:
            yield Problem(path, number, e.what, e.mend)
            continue
        wrong = list(checker.errors(row))
        yield from (Problem(path, number, e.what, e.mend) for e in wrong)
        if not wrong:
            tally.add(row)
    if not number:
        yield Problem(path, 1, "no utterances", 'write one a line, as {"audio": "a.wav"}')


def valid_rows(
    source: Source, *, files: bool = True, skipped: list[Problem] | None = None
) -> Iterator[Row]:
    """Yield the rows of a manifest with which nothing is wrong.

    Args:
        source: of them.
        files: look whether the recordings are there, too.
        skipped: gets what is wrong with each of the others; None to raise at the first.

    Raises:
        ManifestError: something is wrong with a line.
        OSError: the manifest cannot be read.
    """
    path, checker = Path(source.path), _Checker(files)
    for number, line in lines_of(path):
        try:
            row = row_of(line, number, path.parent)
            if not meets(row, source.conditions):
                continue
            for wrong in checker.errors(row):
                raise wrong
        except LineError as e:
            pass_over(path, number, e, skipped)
        else:
            yield row


class _Checker:
    """What can be wrong with a row; knows the ids of those before it.

    Of an id it keeps eight bytes (some 70 as Python holds them in a set), so that ten million fit;
    in less than one of a hundred thousand such manifests two would meet by chance.
    """

    def __init__(self, files: bool) -> None:
        self._files = files
        self._ids: set[int] = set()
        self._state = lru_cache(maxsize=1024)(_file_error)  # of long recordings with many rows

    def errors(self, row: Row) -> Iterator[LineError]:
        for key in _TEXTS:
            if key in row.values and not isinstance(row.values[key], str):
                what = f"{key!r} is {_shown(row.values[key])}, not a string"
                yield LineError(what, "put it in quotes, or leave it out")
        for key in _NAMES:
            value = row.values.get(key)
            if isinstance(value, bool) or not isinstance(value, str | int | None):
                what = f"{key!r} is {_shown(value)}, not a name"
                yield LineError(what, "write a string")
        if (name := row.values.get("id")) is not None:
            key = hash(str(name))
            if key in self._ids:
                what = f"id {_shown(name)} is that of an earlier line"
                yield LineError(what, "give every line its own, or drop one of the two")
            self._ids.add(key)
        if self._files and (error := self._state(str(row.audio))):
            yield LineError(*error)


def _file_error(path: str) -> tuple[str, str] | None:
    try:
        size = os.stat(path).st_size
    except OSError as e:
        return f"{one_line(path)}: {e.strerror or e}", "mend the path or drop the line"
    if not os.path.isfile(path):
        return f"{one_line(path)} is no file", "name a recording"
    if not size:
        return f"{one_line(path)} is empty", "copy it again or drop the line"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

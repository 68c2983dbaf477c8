"""Manifests: JSON Lines, a recording or a stretch of one a line; read and written line by line."""

import contextlib
import errno
import gzip
import io
import json
import logging
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from echoic.audio.data.line import PATH_KEYS, audio_of, parse_line, stretch_of
from echoic.audio.data.problems import LineError, Problem, log_skipped, pass_over

log = logging.getLogger(__name__)

#: A file so named is a manifest.
SURE_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
#: So may one be that is named in full where a recording or a manifest is expected.
MANIFEST_SUFFIXES = (*SURE_SUFFIXES, ".json")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Source:
    """Where recordings are, and how much of the training they are.

    Attributes:
        path: a manifest (JSON Lines; `audio` is a path relative to it, `duration` in seconds saves
            opening the file, and with `offset` cuts a stretch out of it), or a folder, which is
            searched for sound files.
        share: of the training sounds, in proportion to the shares of the other sources.
        split: only rows of the manifest whose `split` is this; None for all.
        lang: only rows whose `lang` is this; None for all.
        skip_bad: leave out lines of the manifest that are no rows, and tell them in the log; else
            the first one is an error.
    """

    path: str
    share: float = 1.0
    split: str | None = None
    lang: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.share <= 0:
            raise ValueError(f"share of {self.path} is {self.share}, expected more than 0")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "PATH", or "PATH,split=train,lang=en" with either or both.

        Raises:
            ValueError: anything else behind a comma.
        """
        path, *parts = text.split(",")
        given = {name: value for name, _, value in (part.partition("=") for part in parts)}
        if not path or not set(given) <= {"split", "lang"} or not all(given.values()):
            raise ValueError(f"{text!r} is not PATH[,split=NAME][,lang=NAME]")
        return cls(path, split=given.get("split"), lang=given.get("lang"))

    @property
    def conditions(self) -> dict[str, str]:
        """Fields of a row and what they must be."""
        wanted = {"split": self.split, "lang": self.lang}
        return {name: value for name, value in wanted.items() if value is not None}


class Row(NamedTuple):
    """A line of a manifest.

    Attributes:
        number: of the line, from 1.
        audio: path of the recording.
        values: all fields.
        offset: seconds from the recording's beginning to that of the row's stretch; None where
            the row is all of the recording.
        duration: seconds; None where the line does not tell, or the stretch is all the rest.
    """

    number: int
    audio: Path
    values: dict[str, Any]
    offset: float | None = None
    duration: float | None = None


def rows_of(source: Source, skipped: list[Problem] | None = None) -> Iterator[Row]:
    """Yield the rows of a manifest that meet the source's conditions, reading line by line.

    Args:
        source: of them; the file may be compressed by gzip.
        skipped: gets a problem for each line that is no row; None to do as the source says.

    Raises:
        ManifestError: a line is no JSON object with a path in `audio`, or its times are none.
        OSError: the manifest cannot be read.
    """
    path, conditions = Path(source.path), source.conditions
    told = skipped is not None
    if not told and source.skip_bad:
        skipped = []
    for number, line in lines_of(path):
        try:
            row = row_of(line, number, path.parent)
        except LineError as e:
            pass_over(path, number, e, skipped)
            continue
        if meets(row, conditions):
            yield row
    if not told:
        log_skipped(log, skipped or [])


def row_of(line: bytes, number: int, folder: Path) -> Row:
    """Return the row that a line holds.

    Args:
        line: of a manifest.
        number: of the line.
        folder: that relative paths start at.

    Raises:
        LineError: it holds none.
    """
    values = parse_line(line)
    audio = folder / audio_of(values)
    return Row(number, audio, values, *stretch_of(values))


def meets(row: Row, conditions: dict[str, str]) -> bool:
    """Tell whether fields of a row are what they must be."""
    return all(row.values.get(name) == value for name, value in conditions.items())


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank and their numbers, from 1, in constant memory.

    Raises:
        OSError: the file cannot be read, or what is compressed in it is damaged.
    """
    with path.open("rb") as raw:
        lines = gzip.GzipFile(fileobj=raw) if is_packed(raw) else raw
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            problem = f"damaged as a gzip file ({e}), pack it again"
            raise OSError(errno.EIO, problem, str(path)) from e


def is_packed(file: io.BufferedReader) -> bool:
    """Tell whether a file at its beginning, where it stays, is compressed by gzip."""
    return file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP


def write_manifest(path: Path, rows: Iterable[Row]) -> int:
    """Write rows under a temporary name and move it into place; return how many.

    A path below the manifest's folder, or one that was relative, is written relative to it.

    Args:
        path: where to; .gz compresses.
        rows: of the manifest.

    Raises:
        OSError: it cannot be written.
    """
    count = 0
    with writing(path) as file:
        for row in rows:
            fields = {k: v for k, v in row.values.items() if k not in PATH_KEYS}
            audio = _audio_in(path.parent, row)
            file.write(json.dumps({"audio": audio} | fields, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


@contextlib.contextmanager
def writing(path: Path) -> Generator[io.BufferedIOBase, None, None]:
    """Open a file under a temporary name; moved into place when all went well.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as raw:
            if path.suffix == ".gz":
                # Without name and time, so that the same rows give the same file.
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _audio_in(folder: Path, row: Row) -> str:
    """Return a recording's path as a manifest in a folder is to have it."""
    given = next((row.values[key] for key in PATH_KEYS if key in row.values), row.audio)
    if Path(given).is_absolute() and not row.audio.is_relative_to(folder.absolute()):
        return str(row.audio)
    return Path(os.path.relpath(row.audio, folder)).as_posix()

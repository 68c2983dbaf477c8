"""Manifests of any length: opened at once, held as eight bytes a row, or as none."""

import bisect
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from echoic.audio.data.manifest import Row, Source, is_packed, meets, row_of, rows_of
from echoic.audio.data.problems import LineError, ManifestError, Problem


class LazyManifest(Sequence[Row]):
    """The rows of a manifest as a sequence that stays on the disk.

    To iterate takes constant memory. The first `len()` or `[i]` reads the file once to note where
    each row begins: eight bytes a row, 80 MB for ten million. The file is open only while it is
    read, so that a manifest can be handed to any number of workers, forked or spawned.

    Args:
        source: the manifest; one compressed by gzip can only be iterated.

    Raises:
        OSError: there is no such file.
    """

    def __init__(self, source: Source | str | Path) -> None:
        self.source = source if isinstance(source, Source) else Source(str(source))
        self.path = Path(self.source.path)
        self.path.stat()
        self._starts: array[int] | None = None
        self._passed = array("Q")  # for each line that is no row: how many rows are before it
        self._seen = (0, 0)

    def __iter__(self) -> Iterator[Row]:
        """Read row by row.

        Raises:
            ManifestError: a line is no row.
            OSError: the file cannot be read.
        """
        return rows_of(self.source)

    def __len__(self) -> int:
        return len(self._index())

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """Read a row, or a list of some.

        Raises:
            IndexError: there are fewer.
            ManifestError: the line is no row.
            ValueError: the file was changed after it was first looked into.
            TypeError: it is compressed.
            OSError: the file cannot be read.
        """
        starts = self._index()
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(starts)))]
        if not -len(starts) <= index < len(starts):
            raise IndexError(f"row {index} of {self.path}, which has {len(starts)}")
        index %= len(starts)
        # Opened anew each time: a shared handle's position would be moved by forked workers.
        with self.path.open("rb") as file:
            if _state(file.fileno()) != self._seen:
                raise ValueError(f"{self.path} was changed while it is in use; open it again")
            file.seek(starts[index])
            line = file.readline()
        return self._row(line, index + 1 + bisect.bisect_right(self._passed, index))

    def _index(self) -> "array[int]":
        if self._starts is None:
            self._starts = self._find()
        return self._starts

    def _find(self) -> "array[int]":
        """Note where rows begin, and before which of them lines are passed over."""
        starts, passed = array("Q"), array("Q")
        any_line = not self.source.conditions and not self.source.skip_bad
        with self.path.open("rb") as file:
            if is_packed(file):
                # Not a ValueError: by this list() knows that it has to do without a length.
                raise TypeError(f"{self.path} is compressed; unpack it to read rows by number")
            seen, at = _state(file.fileno()), 0
            for number, line in enumerate(file, start=1):
                if line.strip() and (any_line or self._is_wanted(line, number)):
                    starts.append(at)
                else:
                    passed.append(len(starts))
                at += len(line)
        self._seen, self._passed = seen, passed
        return starts

    def _is_wanted(self, line: bytes, number: int) -> bool:
        try:
            return meets(self._row(line, number), self.source.conditions)
        except ManifestError:
            if self.source.skip_bad:
                return False
            raise

    def _row(self, line: bytes, number: int) -> Row:
        try:
            return row_of(line, number, self.path.parent)
        except LineError as e:
            raise ManifestError(Problem(self.path, number, e.what, e.mend)) from e


def _state(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_size, found.st_mtime_ns

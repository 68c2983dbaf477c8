"""Where results go: files that appear whole or not at all, and standard output."""

import contextlib
import errno
import os
import sys
import uuid
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, cast

from echoic.audio.errors import one_line
from echoic.codecs.jobs.errors import OutputError, UsageError

STDIO = "-"


def check_output(
    path: str, suffixes: Collection[str], *, source: str | None = None, overwrite: bool = False
) -> None:
    """Make sure, before anything is computed, that an output is meant and has a place.

    Args:
        path: the output; "-" for standard output.
        suffixes: what it may end in, lower case with the dot; none for anything.
        source: what it is made from.
        overwrite: whether it may be there already.

    Raises:
        UsageError: it cannot be what was meant.
    """
    name = one_line(path) or "''"
    if path == STDIO:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal; name a file, or pipe it to a program")
        return
    if os.path.isdir(path):
        raise UsageError(f"{name}: is a folder; name the file to write")
    if suffixes and os.path.splitext(path)[1].lower() not in suffixes:
        raise UsageError(f"{name}: expected an output that ends in {' '.join(sorted(suffixes))}")
    if source is not None and _same(path, source):
        raise UsageError(f"{name}: is the input as well; choose another output")
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise UsageError(f"{name}: no folder {one_line(folder)}; create it first")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{name}: is there already; add --overwrite to replace it")


def _same(path: str, source: str) -> bool:
    try:
        return os.path.samefile(path, source)
    except OSError:  # one of them is not there, or standard input
        return False


@contextlib.contextmanager
def open_output(path: str) -> Iterator[BinaryIO]:
    """Open an output for writing; a file appears when the block ends well, or not at all.

    Raises:
        OutputError: it cannot be written; nothing is left behind then.
        BrokenPipeError: nobody reads standard output any more.
    """
    file = _StandardOutput() if path == STDIO else _WholeFile(path)
    with file:
        yield cast(BinaryIO, file)


class _Output:
    """What is common: errors that name the output."""

    def __init__(self, name: str, file: Any) -> None:
        self._name = name
        self._file = file

    def write(self, data: bytes) -> int:
        with self._named():
            return self._file.write(data)

    def flush(self) -> None:
        with self._named():
            self._file.flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            self._give_up()
            if isinstance(e, BrokenPipeError):
                raise
            raise OutputError(self._name, e) from e

    def _give_up(self) -> None:
        """Do what an error of this output asks for."""


def print_text(text: str) -> None:
    """Put a result on standard output.

    Raises:
        OutputError, BrokenPipeError: see `open_output`.
    """
    with open_output(STDIO) as file:
        file.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


class _StandardOutput(_Output):
    def __init__(self) -> None:
        super().__init__("standard output", sys.stdout.buffer)

    def seekable(self) -> bool:
        return False

    def _give_up(self) -> None:
        """Let what is still buffered go nowhere, or the interpreter would complain at its end."""
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def __enter__(self) -> "_StandardOutput":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()


class _WholeFile(_Output):
    """Written beside its place, then moved."""

    def __init__(self, path: str) -> None:
        self._path = path
        folder, name = os.path.split(path)
        self._temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            super().__init__(path, open(self._temporary, "xb"))  # noqa: SIM115 -- closed at the exit
        except OSError as e:
            raise OutputError(path, e) from e

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._named():
            return self._file.seek(offset, whence)

    def __enter__(self) -> "_WholeFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._named():
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._file.close()
                    os.replace(self._temporary, self._path)
        finally:
            # Closing tries once more to write what a full disk has refused.
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)


def make_folder(path: str) -> None:
    """Make a folder, and those above it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        os.makedirs(path or ".", exist_ok=True)
    except FileExistsError as e:
        raise OutputError(path, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from e
    except OSError as e:
        raise OutputError(path, e) from e

"""Where sound comes from: a path, bytes, a binary file or standard input, as one kind of file.

libsndfile wants a file in which it can seek. `open_source` gives one for everything: a stream that
cannot seek is either followed forward only, when its format allows it (WAV, AU: sound comes out
while more is still being recorded), or copied to a temporary file.
"""

import errno
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from echoic.audio.errors import AudioDecodeError, one_line

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_HEAD_BYTES = 4096
_SPOOL_BYTES = 16 * 2**20
# What a header says when the writer did not know the length; also the size of an endless stream.
_UNKNOWN_32 = b"\xff\xff\xff\xff"
_ENDLESS = 2**62


class SeekableView:
    """A seekable file without its name, from which soundfile would guess a format."""

    forward_only = False

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.seek = raw.seek
        self.tell = raw.tell
        self.read = raw.read
        raw.seek(0)

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as the file goes."""
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class ForwardFile:
    """A stream read once from front to back, looking seekable enough for libsndfile.

    The bytes of the header are kept until `seal`, so that the parser may go back in them. A seek
    past what has been read succeeds, and reading there finds the end of the file: so libsndfile's
    look at what follows the samples costs nothing and blocks on nothing.
    """

    forward_only = True

    def __init__(self, raw: Any, head: bytes = b"") -> None:
        self._raw = raw
        self._kept = bytearray(head)
        self._kept_start = 0
        self._position = 0
        self._sealed = False

    def seal(self) -> None:
        """Stops keeping bytes: from here on the stream is only read forward."""
        self._sealed = True

    def tell(self) -> int:
        """The position as libsndfile sees it."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position; the stream itself moves only when it is read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: _ENDLESS}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int) -> bytes:
        """Reads exactly `size` bytes, fewer only at the end of the stream."""
        at = self._position - self._kept_start
        if at < 0 or at > len(self._kept):
            return b""
        self._pull(at + size - len(self._kept))
        data = bytes(self._kept[at : at + size])
        self._position += len(data)
        if self._sealed:
            del self._kept[: at + len(data)]
            self._kept_start = self._position
        return data

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as the stream goes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _pull(self, size: int) -> None:
        """Takes `size` more bytes from the stream; a pipe may give them in pieces."""
        while size > 0 and (data := self._raw.read(size)):
            self._kept += data
            size -= len(data)


@dataclass(frozen=True, slots=True)
class OpenSource:
    """An opened source.

    Attributes:
        file: what libsndfile reads; at its beginning.
        name: the source's name for messages, one line.
        path: where it lies on disk, if it does.
        head: its first bytes, at most 4096.
        live: whether it is a stream that can be read only once.
    """

    file: SeekableView | ForwardFile
    name: str
    path: Path | None
    head: bytes
    live: bool

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The source as a file with a path, copied to a temporary one where there is none."""
        if self.path is not None and not self.file.forward_only:
            yield self.path
            return
        descriptor, temporary = tempfile.mkstemp(prefix="echoic-")
        try:
            with os.fdopen(descriptor, "wb") as copy:
                self.file.seek(0)
                while data := self.file.read(2**16):
                    copy.write(data)
            yield Path(temporary)
        finally:
            os.unlink(temporary)


@contextmanager
def open_raw(source: Source) -> Iterator[tuple[Any, str]]:
    """Opens a source as it is, for formats without a header; yields the file and its name.

    Raises:
        OSError, TypeError: as `open_source`.
    """
    raw, name, owned = _raw_file(source)
    try:
        yield raw, name
    finally:
        if owned:
            raw.close()


@contextmanager
def open_source(source: Source) -> Iterator[OpenSource]:
    """Opens a source for reading from its beginning; closes what it opened.

    Args:
        source: path, bytes, binary file object (rewound if it can seek), or "-" for standard input.

    Yields:
        The open source.

    Raises:
        FileNotFoundError: if the path does not exist.
        IsADirectoryError: if the path is a folder.
        PermissionError: if the path may not be read.
        AudioDecodeError: if there is not a single byte in it.
        TypeError: if it is none of the kinds above, or a file in text mode.
    """
    path = Path(source) if isinstance(source, str | os.PathLike) and source != "-" else None
    with open_raw(source) as (raw, name):
        live = not (hasattr(raw, "seekable") and raw.seekable())
        head = _read_head(raw, live)
        if not head:
            raise AudioDecodeError(name, "is empty", "check that it was written completely")
        with _as_seekable(raw, head, live) as file:
            yield OpenSource(file, name, path, head, live)


def _raw_file(source: Source) -> tuple[Any, str, bool]:
    """The binary file behind a source, its name, and whether we opened it."""
    if isinstance(source, str) and source == "-":
        return sys.stdin.buffer, "standard input", False
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), f"{len(source)} bytes of memory", True
    if isinstance(source, str | os.PathLike):
        return _open_path(source), one_line(os.fspath(source)), True
    if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
        raise TypeError(
            f"cannot read sound from {type(source).__name__}; "
            "give a path, bytes, a file opened in mode 'rb', or '-' for standard input"
        )
    return source, one_line(str(getattr(source, "name", type(source).__name__))), False


def _open_path(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a path, with errors in one line that say what to do."""
    shown = one_line(os.fspath(path)) or "''"
    try:
        return open(path, "rb")
    except IsADirectoryError:
        problem = "is a folder, not a sound file; give the files in it"
        raise IsADirectoryError(f"{shown}: {problem}") from None
    except PermissionError:
        problem = "may not be read by this user; change its permissions (chmod +r)"
        raise PermissionError(f"{shown}: {problem}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise OSError(f"{shown}: {error.strerror}; check the path") from None
        if os.path.islink(path):
            raise FileNotFoundError(f"{shown}: the link leads nowhere; mend or drop it") from None
        where = f"check the spelling (working directory: {os.getcwd()})"
        raise FileNotFoundError(f"{shown}: no such file; {where}") from None


@contextmanager
def _as_seekable(raw: Any, head: bytes, live: bool) -> Iterator[SeekableView | ForwardFile]:
    """The file, of which `head` was read already, as libsndfile can read it."""
    unclosed = _unclosed_wav(head)
    if unclosed is not None:
        yield ForwardFile(raw, head[:unclosed] + _UNKNOWN_32 + head[unclosed + 4 :])
    elif not live:
        yield SeekableView(raw)
    elif is_streamable(head):
        yield ForwardFile(raw, head)
    else:
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
            spool.write(head)
            if is_known(head):  # an endless stream of anything else must not fill the disk
                shutil.copyfileobj(raw, spool)
            yield SeekableView(spool)


def _read_head(raw: Any, live: bool) -> bytes:
    """The first bytes: all 4096 of a file, of a stream what comes first but enough for a magic."""
    if not live:
        raw.seek(0)
    head = b""
    enough = 64 if live else _HEAD_BYTES
    read = getattr(raw, "read1", raw.read) if live else raw.read
    while len(head) < enough and (data := read(_HEAD_BYTES - len(head))):
        if not isinstance(data, bytes):
            raise TypeError("cannot read sound from a file in text mode; open it in mode 'rb'")
        head += data
    return head


def is_streamable(head: bytes) -> bool:
    """Whether the format can be read from front to back with no seek: WAV, RF64 or AU."""
    riff = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    return riff or head[:4] == b".snd"


def is_known(head: bytes) -> bool:
    """Whether the first bytes are those of a container that some decoder of ours may read."""
    return is_ffmpeg_only(head) or head.startswith(_SNDFILE_MAGICS) or _is_mpeg_audio(head)


def is_ffmpeg_only(head: bytes) -> bool:
    """Whether the first bytes are those of a container that libsndfile does not know."""
    adts = len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    avi = head[:4] == b"RIFF" and head[8:11] == b"AVI"
    return adts or avi or head[4:8] in _MP4_BOXES or head.startswith(_FFMPEG_MAGICS)


def _is_mpeg_audio(head: bytes) -> bool:
    """An MPEG audio frame's sync word with a layer that exists."""
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0


def _unclosed_wav(head: bytes) -> int | None:
    """Where a WAV header holds a data size of 0 although samples follow, if it does.

    So looks a file whose recorder was stopped hard, and what some programs write to a pipe.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(head):
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        if head[at : at + 4] == b"data":
            return at + 4 if size == 0 and len(head) > at + 8 else None
        at += 8 + size + size % 2
    return None


_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")
_FFMPEG_MAGICS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMA, WMV
    b"#!AMR",
    b"ADIF",
    b"FLV\x01",
    b"MAC ",
    b"wvpk",
    b"TTA1",
)
_SNDFILE_MAGICS = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"riff",  # W64
    b"fLaC",
    b"OggS",
    b"ID3",
    b"FORM",
    b".snd",
    b"caff",
    b"NIST",
    b"Creative Voice File",
)

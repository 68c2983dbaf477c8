"""Shards: utterances in tar files of WebDataset's form, written whole and read as they come.

    with ShardWriter(folder, "train", count=1000) as writer:
        writer.write(key_of("84-121123-0001"), {"flac": sound, "json": b'{"text": "go"}'})
    for sample in read_shard(folder / "train-000000.tar"):
        print(sample.fields()["text"], sample.load(16_000).shape)

Files of a sample follow each other and have one name up to the first dot, its key.
"""

import contextlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from tarfile import HeaderError, ReadError, TarError, TarFile, TarInfo
from typing import Any, BinaryIO, NamedTuple, Self, cast
from urllib.parse import quote

from torch import Tensor

from echoic.audio.data.line import parse_line
from echoic.audio.data.problems import LineError
from echoic.audio.errors import one_line
from echoic.audio.io import AUDIO_SUFFIXES, load

# Two blocks of zeros; all other errors of headers are damage. Not among tarfile's public names.
_END_OF_ARCHIVE = tarfile.EOFHeaderError  # pyright: ignore[reportAttributeAccessIssue]
_DAMAGE = (TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
_LARGEST = 2**30  # bytes of a file in a shard; what claims more is damaged
_BLOCK = 512  # bytes that tar rounds everything up to
_TAR_END = 2 * _BLOCK

# A path, an address that fsspec knows, or an open file, of which only `read` is used.
Shard = str | os.PathLike[str] | BinaryIO


class ShardError(ValueError):
    """A shard that cannot be read on; the message names it, the file in it, and the mend.

    Attributes:
        shard: its path or address.
        member: the last file in it that was begun; "" for none.
    """

    def __init__(self, shard: str, member: str, what: str, mend: str) -> None:
        where = f"{one_line(shard)}, at {one_line(member)}" if member else one_line(shard)
        super().__init__(f"{where}: {one_line(what)}; {mend}")
        self.shard = shard
        self.member = member


class Sample(NamedTuple):
    """An utterance in a shard.

    Attributes:
        key: name of its files up to the first dot.
        files: what they hold, by the rest of the name in lower case, such as flac and json.
    """

    key: str
    files: dict[str, bytes]

    def fields(self) -> dict[str, Any]:
        """Return what the .json holds: the fields of its row, without the recording's path.

        Raises:
            ValueError: there is none, or it holds no object.
        """
        try:
            return parse_line(self.files["json"])
        except KeyError:
            raise ValueError(f"sample {self.key} has no .json; make the shard again") from None
        except LineError as e:
            raise ValueError(f"{self.key}.json: {e}") from e

    def load(self, sample_rate: int | None = None) -> Tensor:
        """Return its sound, mono, (N,) float32.

        Args:
            sample_rate: to resample to, in Hz; None keeps that of the file.

        Raises:
            ValueError: there is none, or it cannot be decoded.
        """
        suffix = next((s for s in self.files if f".{s}" in AUDIO_SUFFIXES), None)
        if suffix is None:
            raise ValueError(f"sample {self.key} has no sound; make the shard again")
        return load(self.files[suffix], sample_rate=sample_rate, mono=True).wav[0]


def key_of(name: str) -> str:
    """Return a name as the key of a sample: no two are the same, and none has a dot or slash.

    >>> key_of("84-121123-0001"), key_of("a/b.c")
    ('84-121123-0001', 'a%2Fb%2Ec')
    """
    return quote(name, safe="").replace(".", "%2E")


class ShardWriter:
    """Writes samples to NAME-000000.tar, NAME-000001.tar and so on; equal samples to equal bytes.

    A shard appears when it is complete. As a context it is closed where the block ends; where an
    error ends it, what is not complete is discarded.

    Args:
        folder: of the shards.
        name: that theirs begin with.
        count: samples in a shard.
        max_bytes: a shard is no longer, unless one sample is.

    Attributes:
        shards: that were written.

    Raises:
        ValueError: a size is none.
        OSError: the folder cannot be made.
    """

    def __init__(
        self, folder: Path, name: str, *, count: int = 1000, max_bytes: int | None = None
    ) -> None:
        if count < 1 or (max_bytes is not None and max_bytes < 1):
            raise ValueError(f"shards of {count} samples, {max_bytes} bytes: expected 1 or more")
        self.folder = folder
        self.name = name
        self.count = count
        self.max_bytes = max_bytes
        self.shards: list[Path] = []
        self._tar: TarFile | None = None
        self._samples, self._bytes = 0, 0
        self._last = ""
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write a sample.

        Args:
            key: of the sample, see `key_of`.
            files: what they hold, by suffix without the first dot.

        Raises:
            ValueError: the key has a dot or is that of the sample before, or there are no files.
            OSError: it cannot be written.
        """
        if not key or "." in key or key == self._last or not files:
            raise ValueError(
                f"key {key!r} after {self._last!r} with {len(files)} files: expected another one, "
                "without a dot, and 1 file or more"
            )
        size = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data in files.values())
        long = self.max_bytes is not None and self._bytes + size + _TAR_END > self.max_bytes
        if self._tar is not None and (self._samples >= self.count or long):
            self.close()
        if self._tar is None:
            self._tar = tarfile.open(self._part, "w")  # noqa: SIM115 - closed with the shard
        for suffix, data in files.items():
            member = TarInfo(f"{key}.{suffix}")  # of no time and no owner
            member.size = len(data)
            self._tar.addfile(member, io.BytesIO(data))
        self._last = key
        self._samples, self._bytes = self._samples + 1, self._bytes + size

    def close(self) -> None:
        """Complete the last shard.

        Raises:
            OSError: it cannot be written.
        """
        if self._tar is None:
            return
        self._tar.close()
        target = self.folder / f"{self.name}-{len(self.shards):06d}.tar"
        self._part.replace(target)
        self.shards.append(target)
        self._tar, self._samples, self._bytes = None, 0, 0

    def discard(self) -> None:
        """Remove the shard that is not complete."""
        if self._tar is not None:
            with contextlib.suppress(OSError):  # of a full disk, which ended the writing, too
                self._tar.close()
            self._tar = None
        self._part.unlink(missing_ok=True)

    @property
    def _part(self) -> Path:
        return self.folder / f".{self.name}-{len(self.shards):06d}.tar.part"


def read_shard(shard: Shard, skip: int = 0) -> Iterator[Sample]:
    """Yield the samples of a shard in their order, one in memory at a time.

    Args:
        shard: a path; an address, such as https://..., by fsspec; or an open binary file, such as
            a pipe. May be compressed by gzip, bzip2 or xz.
        skip: samples at its beginning that are passed over.

    Raises:
        ShardError: it cannot be read on. What was complete before that has been yielded.
        ImportError: an address needs a package that is not installed.
    """
    for _, sample in numbered_samples(shard, lambda number: number >= skip):
        yield sample


def numbered_samples(shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Sample]]:
    """Yield the samples whose numbers, from 0, are wanted, with these; see `read_shard`.

    Raises:
        ShardError, ImportError: see there.
    """
    name = shard_name(shard)
    member, key, number = "", "", -1
    files: dict[str, bytes] = {}
    try:
        with _opened(shard) as raw, _tar(raw) as tar:
            while (found := tar.next()) is not None:
                _forget(tar)
                stem, suffix = _parts(found.name)
                if not found.isfile() or not suffix:
                    continue
                if stem != key:
                    if files:
                        yield number, Sample(key, files)
                    key, number, files = stem, number + 1, {}
                member = found.name
                if suffix in files:
                    mend = "make the shard again with other keys"
                    raise ShardError(name, member, "two files of this name", mend)
                if wanted(number):
                    files[suffix] = _bytes_of(tar, found)
            if files:
                yield number, Sample(key, files)
    except ShardError:
        raise
    except _DAMAGE as e:
        what = (e.strerror if isinstance(e, OSError) else None) or str(e) or type(e).__name__
        raise ShardError(name, member, what, "copy the shard again, or leave it out") from e


def shard_name(shard: Shard) -> str:
    """Return a shard's path or address as messages have it."""
    if isinstance(shard, str | os.PathLike):
        return os.fspath(shard)
    return str(getattr(shard, "name", type(shard).__name__))


class _Header(TarInfo):
    """A header that has to be whole: where any but the first is not, TarFile ends in silence."""

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _END_OF_ARCHIVE:
            raise
        except HeaderError as e:
            raise ReadError(f"not a whole tar file ({e})") from e


def _tar(raw: BinaryIO) -> TarFile:
    return tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Header)


def _forget(tar: TarFile) -> None:
    """Drop what a tar file would keep of each file in it."""
    cast(Any, tar).members.clear()  # public, but not in its stubs


def _bytes_of(tar: TarFile, member: TarInfo) -> bytes:
    if member.size > _LARGEST:
        raise ReadError(f"{member.name} is to have {member.size} bytes")
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _parts(path: str) -> tuple[str, str]:
    """Return the key and the suffix of a name."""
    folder, slash, base = path.rpartition("/")
    stem, _, suffix = base.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


@contextlib.contextmanager
def _opened(shard: Shard) -> Generator[BinaryIO, None, None]:
    if not isinstance(shard, str | os.PathLike):
        yield shard
    elif "://" in (path := os.fspath(shard)):
        with _remote(path) as file:
            yield file
    else:
        with open(path, "rb") as file:
            yield file


@contextlib.contextmanager
def _remote(address: str) -> Generator[BinaryIO, None, None]:
    try:
        import fsspec
    except ImportError as e:
        raise ImportError(f"{address} needs fsspec: pip install fsspec") from e
    # As one stream; else it is asked for piece by piece.
    options: Any = {"block_size": 0} if address.startswith(("http://", "https://")) else {}
    with _errors_told():
        file = cast(Any, fsspec.open(address, "rb", **options)).open()
    with file:
        yield cast(BinaryIO, _RemoteFile(file))


class _RemoteFile:
    """A file of fsspec whose errors are those of files."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        with _errors_told():
            return self._file.read(size)


@contextlib.contextmanager
def _errors_told() -> Generator[None, None, None]:
    try:
        yield
    except (ImportError, OSError):
        raise
    except Exception as e:  # each of fsspec's file systems brings errors of its own
        raise OSError(f"{type(e).__name__} {e}") from e

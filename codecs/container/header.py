"""The head of an `.echo` file: what made it and what its codes are.

Bytes, all numbers little-endian:

    8   magic: 0x89 "ECHO" CR LF 0x1A; a transfer as text changes it
    2   version
    4   length of the JSON, at most 64 KiB
    n   JSON (UTF-8), padded with blanks where the length of the sound is not known yet
    4   CRC-32 of all the bytes before
"""

import json
import struct
import zlib
from dataclasses import asdict, dataclass, fields
from typing import BinaryIO, Self

from echoic.codecs.container.errors import EchoFileError

MAGIC = b"\x89ECHO\r\n\x1a"
VERSION = 1
_FIXED = struct.Struct("<8sHI")
_CRC = struct.Struct("<I")
_MAX_JSON = 2**16
_MAX_CHANNELS, _MAX_BOOKS, _MAX_BOOK, _MAX_FRAMES = 1024, 1024, 2**23, 2**16 - 1
_MAX_RATE = 10_000_000
# Digits that the longest length may need: the place is kept for it while it is not known.
_LENGTH_DIGITS = 20

NOT_ECHO = "give a file that `echoic codec encode` wrote"


@dataclass(frozen=True, slots=True)
class Header:
    """What an `.echo` file says of itself.

    Attributes:
        model: name of the codec.
        weights: hash of its weights, "sha256:" and hex digits.
        sample_rate: the codec's rate in Hz.
        hop_length: samples of a frame at that rate.
        num_codebooks: Q, codes of a frame of one channel.
        codebook_size: K, the same for all books.
        original_sample_rate: rate in Hz of the sound that was coded, to which it is decoded.
        channels: C, each coded on its own.
        segment_frames: frames of every segment but the last.
        num_samples: length of a channel at the original rate; None while it is not known, as in a
            stream. The end of the file tells it in any case.

    Raises:
        EchoFileError: a value that no file can have.
    """

    model: str
    weights: str
    sample_rate: int
    hop_length: int
    num_codebooks: int
    codebook_size: int
    original_sample_rate: int
    channels: int = 1
    segment_frames: int = 100
    num_samples: int | None = None

    def __post_init__(self) -> None:
        for name, highest in (
            ("sample_rate", _MAX_RATE),
            ("hop_length", _MAX_RATE),
            ("num_codebooks", _MAX_BOOKS),
            ("codebook_size", _MAX_BOOK),
            ("original_sample_rate", _MAX_RATE),
            ("channels", _MAX_CHANNELS),
            ("segment_frames", _MAX_FRAMES),
        ):
            _check_count(name, getattr(self, name), 1, highest)
        if self.num_samples is not None:
            _check_count("num_samples", self.num_samples, 0, 2**63)
        for name in ("model", "weights"):
            if not isinstance(getattr(self, name), str):
                raise _bad(name, getattr(self, name), "text")

    @property
    def code_bits(self) -> int:
        """Bits of a packed code: ceil(log2 K)."""
        return (self.codebook_size - 1).bit_length()

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def bitrate(self) -> float:
        """Bits per second of the packed codes of all channels, without the frame around them."""
        return self.channels * self.num_codebooks * self.code_bits * self.frame_rate

    def duration(self, num_samples: int) -> float:
        """Return so many samples at the original rate as seconds."""
        return num_samples / self.original_sample_rate

    def to_bytes(self, num_bytes: int | None = None) -> bytes:
        """Return the head as it stands in a file.

        Args:
            num_bytes: how many to fill, with blanks; None leaves room for any `num_samples`.

        Raises:
            ValueError: it is longer than that, or than a head may be.
        """
        text = json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()
        around = _FIXED.size + _CRC.size
        if num_bytes is None:
            spare = _LENGTH_DIGITS - len("null") if self.num_samples is None else 0
            num_bytes = len(text) + spare + around
        length = num_bytes - around
        if not len(text) <= length <= _MAX_JSON:
            raise ValueError(
                f"the header takes {len(text)} bytes, expected at most {min(length, _MAX_JSON)}"
                ": give a shorter model name"
            )
        body = _FIXED.pack(MAGIC, VERSION, length) + text.ljust(length)
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def read(cls, file: BinaryIO) -> Self:
        """Read the head, to its last byte.

        Raises:
            EchoFileError: the file is of another format, of a newer version, cut or damaged.
        """
        fixed = read_fully(file, _FIXED.size)
        if not fixed:
            raise EchoFileError("is empty", "check that it was written completely")
        if fixed[: len(MAGIC)] != MAGIC[: len(fixed)]:
            raise EchoFileError("is not an .echo file", NOT_ECHO)
        if len(fixed) < _FIXED.size:
            raise _cut()
        _, version, length = _FIXED.unpack(fixed)
        if version != VERSION:
            raise EchoFileError(
                f"is of version {version} of the format, this is echoic for version {VERSION}",
                "install a newer echoic",
            )
        if length > _MAX_JSON:
            raise _damaged_head()
        rest = read_fully(file, length + _CRC.size)
        if len(rest) < length + _CRC.size:
            raise _cut()
        if _CRC.unpack(rest[length:])[0] != zlib.crc32(rest[:length], zlib.crc32(fixed)):
            raise _damaged_head()
        return cls._from_json(rest[:length])

    @classmethod
    def _from_json(cls, text: bytes) -> Self:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise EchoFileError(f"has a header that is no JSON ({e})", NOT_ECHO) from e
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            wrong = sorted(set(values) ^ names) if isinstance(values, dict) else type(values)
            raise EchoFileError(f"has a header with missing or unknown fields {wrong}", NOT_ECHO)
        return cls(**values)


def read_fully(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end: a pipe may give them in pieces."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _check_count(name: str, value: object, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise _bad(name, value, f"{lowest} to {highest}")


def _bad(name: str, value: object, expected: str) -> EchoFileError:
    return EchoFileError(f"has a header with {name} {value!r}, expected {expected}", NOT_ECHO)


def _cut() -> EchoFileError:
    return EchoFileError("is cut within its header", "copy it again; nothing can be recovered")


def _damaged_head() -> EchoFileError:
    return EchoFileError("has a damaged header", "copy it again; nothing can be recovered")

"""The records behind the head of an `.echo` file: segments of codes, and the end.

Bytes, all numbers little-endian:

    2   0xEC "S", by which a reader finds its way back after damage
    4   number of the segment, from 0; in the end record, how many there are
    2   frames; `segment_frames` in all segments but the last
    1   coding: 0 packed, 1 range coded, 255 end
    4   length of the payload
    n   payload: codes, frame by frame; in the end record samples of a channel and frames, 8 each
    4   CRC-32 of all the bytes before
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

from echoic.codecs.container.bits import pack_codes, packed_size, unpack_codes
from echoic.codecs.container.entropy import decode_codes, encode_codes
from echoic.codecs.container.errors import damaged
from echoic.codecs.container.header import Header

SYNC = b"\xecS"
HEAD = struct.Struct("<2sIHBI")
CRC = struct.Struct("<I")
END = struct.Struct("<QQ")
MAX_SEGMENTS = 2**32 - 1


class Coding(IntEnum):
    """How a payload is to be read."""

    PACKED = 0
    RANGE = 1
    END = 255


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose checksum was right.

    Attributes:
        index: number of the segment, or of all segments in the end record.
        frames: how many it has.
        coding: how to read the payload.
        payload: the bytes.
    """

    index: int
    frames: int
    coding: Coding
    payload: bytes

    @property
    def num_bytes(self) -> int:
        """Bytes in the file."""
        return HEAD.size + len(self.payload) + CRC.size

    def to_bytes(self) -> bytes:
        """Return the record as it stands in a file."""
        head = HEAD.pack(SYNC, self.index, self.frames, self.coding, len(self.payload))
        body = head + self.payload
        return body + CRC.pack(zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class Segment:
    """Codes of a stretch of frames.

    Attributes:
        start_frame: where it begins.
        codes: (C, Q, F) int64.
    """

    start_frame: int
    codes: torch.Tensor


def max_payload(header: Header) -> int:
    """Return the length that no payload exceeds: range coding is only taken where it is shorter."""
    return max(packed_size(_num_codes(header, header.segment_frames), header.code_bits), END.size)


def write_segment(header: Header, index: int, codes: torch.Tensor, *, entropy: bool) -> Record:
    """Return the record of a segment.

    Args:
        header: of the file.
        index: number of the segment.
        codes: (C, Q, F) from 0 to K - 1.
        entropy: code them by their frequencies, where that is shorter.
    """
    values = codes.detach().cpu().numpy()
    coding, payload = Coding.PACKED, pack_codes(values.transpose(2, 0, 1).ravel(), header.code_bits)
    if entropy:
        coded = encode_codes(values, header.codebook_size)
        if len(coded) < len(payload):
            coding, payload = Coding.RANGE, coded
    return Record(index, values.shape[2], coding, payload)


def read_segment(header: Header, record: Record) -> Segment:
    """Return the codes of a record.

    Raises:
        EchoFileError: the checksum was right, but no such codes can have been written.
    """
    shape = (header.channels, header.num_codebooks, record.frames)
    if record.coding is Coding.RANGE:
        codes = decode_codes(record.payload, shape, header.codebook_size)
    else:
        count = _num_codes(header, record.frames)
        if len(record.payload) != packed_size(count, header.code_bits):
            raise damaged(
                f"segment {record.index} has {len(record.payload)} bytes for {count} codes of "
                f"{header.code_bits} bits"
            )
        flat = unpack_codes(record.payload, count, header.code_bits)
        if flat.size and flat.max() >= header.codebook_size:
            raise damaged(
                f"segment {record.index} has the code {flat.max()} in books of "
                f"{header.codebook_size}"
            )
        codes = flat.reshape(record.frames, *shape[:2]).transpose(1, 2, 0)
    start = record.index * header.segment_frames
    return Segment(start, torch.from_numpy(np.ascontiguousarray(codes)))


def _num_codes(header: Header, frames: int) -> int:
    return header.channels * header.num_codebooks * frames

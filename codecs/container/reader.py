"""Reading `.echo` files: segment by segment, and past damage where that is asked for."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from echoic.codecs.container.errors import EchoFileError, damaged
from echoic.codecs.container.header import Header
from echoic.codecs.container.record import (
    CRC,
    END,
    HEAD,
    SYNC,
    Coding,
    Record,
    Segment,
    max_payload,
    read_segment,
)
from echoic.codecs.container.window import ByteWindow

_CODINGS = frozenset(Coding)


class Gap(NamedTuple):
    """Frames that are lost.

    Attributes:
        start_frame: the first.
        end_frame: the one behind the last; None where the file ends before its end is told.
        problem: what is wrong there.
    """

    start_frame: int
    end_frame: int | None
    problem: str


class EchoReader:
    """Reads the head at once and the segments one by one, in memory for one of them.

    Args:
        file: what to read, binary, from its position on; a pipe will do.
        salvage: go on behind damage and note it in `gaps`, in the place of an error.

    Attributes:
        header: what the codes are.
        num_samples: length of a channel at the original rate: from the head, and from the end once
            that was read; None where neither told.
        num_frames: frames read, those in gaps among them.
        gaps: what was lost so far.

    Raises:
        EchoFileError: another format, or a head that is cut or damaged.
    """

    def __init__(self, file: BinaryIO, *, salvage: bool = False) -> None:
        self.header = Header.read(file)
        self.num_samples = self.header.num_samples
        self.num_frames = 0
        self.gaps: list[Gap] = []
        self._file = file
        self._salvage = salvage
        self._window = ByteWindow(file)
        self._max_payload = max_payload(self.header)

    def __iter__(self) -> Iterator[Segment]:
        """Yield the segments that are left, in order.

        Raises:
            EchoFileError: damage, or no end; with `salvage` neither.
        """
        for record in self.records():
            try:
                yield read_segment(self.header, record)
            except EchoFileError as e:
                if not self._salvage:
                    raise
                start = record.index * self.header.segment_frames
                self.gaps.append(Gap(start, start + record.frames, _problem(e)))

    def records(self) -> Iterator[Record]:
        """Yield the segments that are left as bytes whose checksum was right.

        Raises:
            EchoFileError: as iterating.
        """
        expected, problem = 0, ""
        while True:
            try:
                record = self._next()
                self._check_order(record, expected)
            except EchoFileError as e:
                if not self._salvage:
                    raise
                problem = problem or _problem(e)
                self._window.skip(1)
                if self._window.skip_to(SYNC):
                    continue
                self.gaps.append(Gap(self.num_frames, None, problem))
                return
            self._note_gap(record, problem)
            self._window.skip(record.num_bytes)
            if record.coding is Coding.END:
                self._end(record)
                return
            expected, problem = record.index + 1, ""
            self.num_frames = record.index * self.header.segment_frames + record.frames
            yield record

    def _next(self) -> Record:
        """Return the record at the window's beginning, and leave it there."""
        head = self._window.peek(HEAD.size)
        if len(head) < HEAD.size:
            cut = self._where("is cut") if head else "ends before its end is told: it is cut"
            raise damaged(cut)
        sync, index, frames, coding, length = HEAD.unpack(head)
        if sync != SYNC or length > self._max_payload:
            raise damaged(self._where("is damaged"))
        data = self._window.peek(HEAD.size + length + CRC.size)
        if len(data) < HEAD.size + length + CRC.size:
            raise damaged(self._where("is cut"))
        if CRC.unpack(data[-CRC.size :])[0] != zlib.crc32(data[: -CRC.size]):
            raise damaged(self._where("is damaged"))
        if coding not in _CODINGS or (coding == Coding.END and length != END.size):
            raise damaged(self._where(f"has a segment of unknown coding {coding}"))
        return Record(index, frames, Coding(coding), data[HEAD.size : -CRC.size])

    def _check_order(self, record: Record, expected: int) -> None:
        """Only the last segment is shorter, and none is left out or comes twice."""
        size, is_end = self.header.segment_frames, record.coding is Coding.END
        if record.index < expected or (record.index > expected and not self._salvage):
            raise damaged(self._where(f"has segment {record.index} in the place of {expected}"))
        complete = self.num_frames == expected * size
        if not is_end and not (complete and 0 < record.frames <= size):
            raise damaged(self._where(f"has a segment of {record.frames} frames, not {size}"))
        if is_end:
            self._check_end(record)

    def _check_end(self, record: Record) -> None:
        num_samples, num_frames = END.unpack(record.payload)
        header = self.header
        seconds = num_frames / header.frame_rate
        if -(-num_frames // header.segment_frames) != record.index:
            raise damaged(f"ends after {num_frames} frames in {record.index} segments")
        if not self._salvage and num_frames != self.num_frames:
            raise damaged(f"has {self.num_frames} frames, its end tells of {num_frames}")
        if header.num_samples not in (None, num_samples):
            raise damaged(f"has {header.num_samples} samples by its head, {num_samples} by its end")
        if num_samples > (seconds + 1 / header.sample_rate) * header.original_sample_rate + 1:
            raise damaged(f"has {num_frames} frames for {num_samples} samples, which are more")
        before_last = (num_frames - 1) / header.frame_rate - 1 / header.sample_rate
        if before_last * header.original_sample_rate - 1 > num_samples:
            raise damaged(f"has {num_frames} frames for {num_samples} samples, which are fewer")

    def _note_gap(self, record: Record, problem: str) -> None:
        start = record.index * self.header.segment_frames
        if record.coding is Coding.END:
            start = END.unpack(record.payload)[1]
        if start > self.num_frames:
            self.gaps.append(Gap(self.num_frames, start, problem or "has segments left out"))

    def _end(self, record: Record) -> None:
        self.num_samples, self.num_frames = END.unpack(record.payload)
        if not self._salvage and self._file.seekable() and self._window.peek(1):
            raise damaged("has bytes behind its end")

    def _where(self, problem: str) -> str:
        seconds = self.num_frames / self.header.frame_rate
        return f"{problem} after {seconds:.2f} s"


def _problem(error: EchoFileError) -> str:
    return str(error).partition("; ")[0]

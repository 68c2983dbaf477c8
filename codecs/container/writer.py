"""Writing `.echo` files while the sound is still coming."""

from dataclasses import replace
from typing import BinaryIO

import torch
from torch import Tensor

from echoic.codecs.container.header import Header
from echoic.codecs.container.record import END, MAX_SEGMENTS, Coding, Record, write_segment


class EchoWriter:
    """Writes codes as they come; holds at most one segment.

    A file that can seek gets its length into the head when it is closed; in a pipe the end record
    alone tells it.

    Args:
        file: where to, binary; from its position on.
        header: what the codes are.
        entropy: code each segment by the frequencies of its codes, where that is shorter.
        patch_length: whether to go back to the head at the end, if `file` can seek.

    Attributes:
        header: what the codes are.
        num_frames: frames taken.
        num_bytes: bytes written.
        code_bytes: bytes of payloads among them, without heads and checksums.
    """

    def __init__(
        self, file: BinaryIO, header: Header, *, entropy: bool = False, patch_length: bool = True
    ) -> None:
        self.header = header
        self.num_frames = 0
        self.num_bytes = 0
        self.code_bytes = 0
        self._file = file
        self._entropy = entropy
        self._segments = 0
        self._waiting = torch.empty(header.channels, header.num_codebooks, 0, dtype=torch.int64)
        self._start = file.tell() if patch_length and file.seekable() else None
        head = header.to_bytes()
        self._head_bytes = len(head)
        self._write(head)

    def write(self, codes: Tensor) -> None:
        """Take the next codes.

        Args:
            codes: (C, Q, F) integers from 0 to K - 1, F >= 0.

        Raises:
            ValueError: another shape or type, or codes out of range.
            OSError: the file cannot be written.
        """
        self._check(codes)
        self.num_frames += codes.shape[2]
        self._waiting = torch.cat([self._waiting, codes.detach().cpu().long()], dim=2)
        size = self.header.segment_frames
        whole = self._waiting.shape[2] // size * size
        for segment in self._waiting[:, :, :whole].split(size, dim=2) if whole else ():
            self._write_segment(segment)
        self._waiting = self._waiting[:, :, whole:].clone()

    def close(self, num_samples: int) -> None:
        """Write what is left and the end; the file itself stays open.

        Args:
            num_samples: length of a channel at its original rate.

        Raises:
            ValueError: the header promised another length.
            OSError: the file cannot be written.
        """
        if self.header.num_samples not in (None, num_samples):
            raise ValueError(
                f"{num_samples} samples came, the header promised {self.header.num_samples}: "
                "leave num_samples out where it is not sure"
            )
        if self._waiting.shape[2]:
            self._write_segment(self._waiting)
        payload = END.pack(num_samples, self.num_frames)
        self._write(Record(self._segments, 0, Coding.END, payload).to_bytes())
        if self._start is not None and self.header.num_samples is None:
            end = self._file.tell()
            self.header = replace(self.header, num_samples=num_samples)
            self._file.seek(self._start)
            self._file.write(self.header.to_bytes(self._head_bytes))
            self._file.seek(end)
        self._file.flush()

    def _write_segment(self, codes: Tensor) -> None:
        if self._segments == MAX_SEGMENTS:
            raise ValueError(f"more than {MAX_SEGMENTS} segments; take more segment_frames")
        record = write_segment(self.header, self._segments, codes, entropy=self._entropy)
        self._segments += 1
        self.code_bytes += len(record.payload)
        self._write(record.to_bytes())
        self._file.flush()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.num_bytes += len(data)

    def _check(self, codes: Tensor) -> None:
        expected = (self.header.channels, self.header.num_codebooks)
        if codes.dim() != 3 or codes.shape[:2] != expected or codes.is_floating_point():
            raise ValueError(
                f"codes are {tuple(codes.shape)} {codes.dtype}, expected integers of shape "
                f"({expected[0]}, {expected[1]}, frames)"
            )
        highest = self.header.codebook_size - 1
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) <= highest:
            raise ValueError(
                f"codes are from {int(codes.min())} to {int(codes.max())}, expected 0 to {highest}"
            )

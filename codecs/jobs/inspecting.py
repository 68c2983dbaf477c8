"""`echoic codec info`: what an `.echo` file holds, and whether it is whole."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

from echoic.audio.errors import one_line
from echoic.audio.source import open_raw
from echoic.codecs.container import Coding, EchoReader, Gap, Header
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, SOME_FAILED, UsageError, describe
from echoic.codecs.jobs.places import STDIO, print_text


@dataclass(frozen=True, slots=True)
class EchoInfo:
    """What an `.echo` file holds.

    Attributes:
        header: its head.
        num_samples: of a channel at the original rate; None where no end tells.
        num_frames: of codes.
        segments: intact ones.
        entropy_coded: how many of them are.
        num_bytes: of the file, to the end that it tells.
        gaps: what is lost.
    """

    header: Header
    num_samples: int | None
    num_frames: int
    segments: int
    entropy_coded: int
    num_bytes: int
    gaps: tuple[Gap, ...]

    @property
    def duration(self) -> float:
        """Seconds of sound; of the frames that are there where no end tells."""
        if self.num_samples is None:
            return self.num_frames / self.header.frame_rate
        return self.header.duration(self.num_samples)

    @property
    def bitrate(self) -> float:
        """Bits a second that the file takes, heads and checksums among them; 0 for no sound."""
        return 8 * self.num_bytes / self.duration if self.duration else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            **asdict(self.header),
            "num_samples": self.num_samples,
            "duration": self.duration,
            "frame_rate": self.header.frame_rate,
            "num_frames": self.num_frames,
            "code_bitrate": self.header.bitrate,
            "bitrate": self.bitrate,
            "segments": self.segments,
            "entropy_coded_segments": self.entropy_coded,
            "intact": not self.gaps,
            "damage": [
                {"start": start, "end": end, "problem": gap.problem}
                for gap in self.gaps
                for start, end in [self.times(gap)]
            ],
        }

    def times(self, gap: Gap) -> tuple[float, float | None]:
        """Return where damage begins and ends, in seconds."""
        rate = self.header.frame_rate
        end = None if gap.end_frame is None else gap.end_frame / rate
        return gap.start_frame / rate, end


class _Counted:
    """A file of which is told how much was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.num_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.num_bytes += len(data)
        return data

    def seekable(self) -> bool:
        return self._file.seekable()


def inspect_file(file: BinaryIO) -> EchoInfo:
    """Read a file to its end and check every segment.

    Raises:
        EchoFileError: it is not an .echo file, or its head is damaged.
    """
    counted = _Counted(file)
    reader = EchoReader(cast(BinaryIO, counted), salvage=True)
    segments = entropy_coded = 0
    for record in reader.records():
        segments += 1
        entropy_coded += record.coding is Coding.RANGE
    num_bytes = counted.num_bytes
    if file.seekable() and counted.read(1):  # in a pipe something else may follow
        reader.gaps.append(Gap(reader.num_frames, reader.num_frames, "has bytes behind its end"))
    return EchoInfo(
        reader.header,
        reader.num_samples,
        reader.num_frames,
        segments,
        entropy_coded,
        num_bytes,
        tuple(reader.gaps),
    )


def show_info(source: str, console: Console, *, as_json: bool) -> int:
    """Print what a file holds; returns the exit code, 1 where it is damaged.

    Raises:
        UsageError: a folder.
        ValueError, OSError: it cannot be read at all.
    """
    if os.path.isdir(source):
        raise UsageError(f"{source}: is a folder; name an .echo file")
    name = "standard input" if source == STDIO else source
    try:
        with open_raw(source) as (file, _):
            found = inspect_file(file)
    except ValueError as e:
        raise ValueError(describe(e, name)) from e
    if as_json:
        print_text(json.dumps(found.to_dict()) + "\n")
    else:
        print_text("".join(f"{label:<10} {value}\n" for label, value in _lines(found)))
    for gap in found.gaps:
        console.problem(f"{name}: {gap.problem}; recover the rest with decode --salvage")
    return SOME_FAILED if found.gaps else ALL_DONE


def _lines(found: EchoInfo) -> list[tuple[str, str]]:
    header = found.header
    coded = f", {found.entropy_coded} of them entropy coded" if found.entropy_coded else ""
    samples = "" if found.num_samples is None else f" ({found.num_samples} samples)"
    lines = [
        ("model", one_line(header.model)),
        ("weights", one_line(header.weights)),
        ("sound", f"{header.original_sample_rate} Hz, channels: {header.channels}"),
        ("duration", f"{found.duration:.2f} s{samples}"),
        (
            "codes",
            f"{header.num_codebooks} of {header.code_bits} bits a frame, "
            f"{header.frame_rate:g} frames a second at {header.sample_rate} Hz",
        ),
        (
            "bitrate",
            f"{header.bitrate / 1000:.3f} kbit/s of codes, {found.bitrate / 1000:.3f} kbit/s in "
            "the file",
        ),
        ("segments", f"{found.segments} of {header.segment_frames / header.frame_rate:g} s{coded}"),
    ]
    if not found.gaps:
        return [*lines, ("checksums", "all right")]
    return lines + [("damaged", _stretch(*found.times(gap))) for gap in found.gaps]


def _stretch(start: float, end: float | None) -> str:
    if start == end:
        return "behind its end"
    return f"from {start:.2f} s on" if end is None else f"{start:.2f} to {end:.2f} s"

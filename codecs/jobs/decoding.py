"""`echoic codec decode`: an `.echo` file back to sound."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from echoic.audio.source import open_raw
from echoic.audio.write import SOUND_SUFFIXES, SoundWriter
from echoic.codecs.container import EchoReader, Header
from echoic.codecs.decode_file import SoundSink, check_model, decode_file
from echoic.codecs.jobs.console import Console, times_real_time
from echoic.codecs.jobs.errors import ALL_DONE, OutputError, UsageError, describe
from echoic.codecs.jobs.loading import load_for_file, warm_up
from echoic.codecs.jobs.pcm import PcmStream
from echoic.codecs.jobs.places import STDIO, check_output, open_output
from echoic.codecs.jobs.running import Check


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What to decode, and to what.

    Attributes:
        source: the file, or "-" for standard input.
        output: a sound file, or "-" for standard output.
        model: the codec; None for the one that the file names.
        salvage: decode what is intact of a damaged file.
        raw: samples without a header.
        subtype: how a sound file holds samples; None for 16 bits or the lossy usual.
        device: where to compute.
        overwrite: replace an output that is there.
    """

    source: str
    output: str
    model: str | None = None
    salvage: bool = False
    raw: bool = False
    subtype: str | None = None
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.subtype is not None and (self.raw or self.output == STDIO):
            raise UsageError("--subtype is for sound files; streams have 16 bits a sample")

    @property
    def name(self) -> str:
        """How messages call the file."""
        return "standard input" if self.source == STDIO else self.source


def decode(request: DecodeRequest, console: Console, check: Check) -> int:
    """Do what was asked for; returns the exit code.

    Raises:
        UsageError: it makes no sense.
        ValueError, OSError: the file cannot be decoded, or the output not written.
    """
    if os.path.isdir(request.source):
        raise UsageError(f"{request.source}: is a folder; name an .echo file")
    suffixes = () if request.raw else SOUND_SUFFIXES
    check_output(request.output, suffixes, source=request.source, overwrite=request.overwrite)
    with _named(request.name), open_raw(request.source) as (file, _):
        reader = EchoReader(file, salvage=request.salvage)
        codec, name = load_for_file(reader.header.model, request.model, request.device)
        check_model(codec, reader.header, name)
        warm_up(codec)
        header = reader.header
        known = header.num_samples
        console.begin([lambda: None if known is None else header.duration(known)])

        heard = False

        def advance(seconds: float) -> None:
            nonlocal heard
            heard = True
            console.advance(seconds)
            check()

        with _open_sink(request, header) as sink:
            samples = decode_file(codec, reader, sink, note=console.note, progress=advance)
            check()
            if reader.gaps and not heard:
                raise ValueError("has no intact segment; nothing can be recovered")
    console.close()
    for gap in reader.gaps:
        start = gap.start_frame / header.frame_rate
        if gap.end_frame is None:
            lost = f"what came behind {start:.2f} s is lost"
        else:
            lost = f"silence from {start:.2f} to {gap.end_frame / header.frame_rate:.2f} s"
        console.problem(f"{request.name}: {gap.problem}; {lost}")
    seconds = header.duration(samples)
    speed = times_real_time(seconds, console.seconds)
    console.note(
        f"{seconds:.1f} s of sound, {header.original_sample_rate} Hz, channels: "
        f"{header.channels}, in {console.seconds:.1f} s, {speed}"
    )
    return ALL_DONE


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file's name in front of what is wrong with it."""
    try:
        yield
    except (UsageError, OSError):  # of the command, or with a name of their own
        raise
    except ValueError as e:
        raise ValueError(describe(e, name)) from e


@contextlib.contextmanager
def _open_sink(request: DecodeRequest, header: Header) -> Iterator[SoundSink]:
    rate, channels = header.original_sample_rate, header.channels
    # What is left of a damaged file may be shorter than its header says.
    length = None if request.salvage else header.num_samples
    if not request.raw and request.output != STDIO:
        with _sound_writer(request, rate, channels, length) as writer:
            yield writer
        return
    with open_output(request.output) as file:
        stream = PcmStream(file, rate, channels, wav=not request.raw, num_frames=length)
        yield stream
    stream.close("standard output" if request.output == STDIO else request.output)


def _sound_writer(
    request: DecodeRequest, rate: int, channels: int, length: int | None
) -> SoundWriter:
    try:
        return SoundWriter(
            request.output, rate, channels, subtype=request.subtype, num_frames=length
        )
    except ValueError as e:
        raise UsageError(str(e)) from e
    except OSError as e:
        raise OutputError(request.output, e) from e

"""`echoic codec plot`: a picture of a recording, its codes and its reconstruction."""

import os
from dataclasses import dataclass
from pathlib import Path

from echoic.audio.errors import one_line
from echoic.audio.io import load
from echoic.audio.plot import new_figure, save_figure
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, OutputError, UsageError
from echoic.codecs.jobs.loading import check_n_q, load_named
from echoic.codecs.jobs.places import STDIO, check_output
from echoic.codecs.jobs.running import Check
from echoic.codecs.plot import plot_codec

PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class PlotRequest:
    """What to draw.

    Attributes:
        source: the recording, or "-" for standard input.
        output: the picture.
        model: name of the codec.
        n_q: codes of a frame; None for all.
        offset: where to begin, in seconds.
        duration: seconds to draw; None for all.
        device: where to compute.
        overwrite: replace a picture that is there.
    """

    source: str
    output: str
    model: str
    n_q: int | None = None
    offset: float = 0.0
    duration: float | None = None
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.output == STDIO:
            raise UsageError(f"a picture needs a name; end it in {' '.join(PICTURES)}")
        if not self.offset >= 0 or (self.duration is not None and not self.duration > 0):
            raise UsageError("--offset must be 0 or more seconds, and --duration more than 0")


def plot(request: PlotRequest, console: Console, check: Check) -> int:
    """Do what was asked for; returns the exit code.

    Raises:
        UsageError: it makes no sense.
        ModuleNotFoundError: the extra `plot` is not installed.
        ValueError, OSError: the recording cannot be read, or the picture not written.
    """
    if os.path.isdir(request.source):
        raise UsageError(f"{request.source}: is a folder; name a recording")
    check_output(request.output, PICTURES, source=request.source, overwrite=request.overwrite)
    new_figure(1, 1)  # before the work: where pictures cannot be drawn, it would be for nothing
    codec = load_named(request.model, request.device)
    n_q = check_n_q(codec, request.n_q)
    wav = load(
        request.source,
        sample_rate=codec.sample_rate,
        mono=True,
        offset=request.offset,
        duration=request.duration,
    ).wav
    if not wav.shape[1]:  # two samples at 96 kHz are no third of one at 16 kHz
        wav = wav.new_zeros(1, 1)
    check()
    encoded = codec.encode(wav.to(codec.device), n_q=n_q)
    check()
    figure = plot_codec(
        wav,
        codec.decode(encoded).cpu(),
        encoded.codes[0].cpu(),
        sample_rate=codec.sample_rate,
        frame_rate=codec.frame_rate,
        codebook_size=codec.codebook_size,
        title=_title(request, codec.bits_per_second(n_q)),
    )
    try:
        save_figure(figure, request.output)
    except OSError as e:
        raise OutputError(request.output, e) from e
    console.note(f"{wav.shape[1] / codec.sample_rate:.1f} s of sound, drawn")
    return ALL_DONE


def _title(request: PlotRequest, bitrate: float) -> str:
    name = "standard input" if request.source == STDIO else Path(request.source).name
    model = Path(request.model).name if os.path.isdir(request.model) else request.model
    return f"{one_line(name)}  ·  {one_line(model)}, {bitrate / 1000:g} kbit/s"

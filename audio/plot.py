"""Pictures of sound: waveform, spectrogram, and what was found in it.

Everything is drawn on a `matplotlib.figure.Figure` of its own with the Agg canvas: no display, no
`pyplot`, no state shared between threads. matplotlib and librosa come with the extra `plot`.
"""

import secrets
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from echoic.audio.hysteresis import SpeechSegment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#2b3a4a"
_WAVE = "#2f6f9f"
_SPEECH = "#f0a500"
_COLORS = "magma"
_DECIBELS = 80.0
_MAX_COLUMNS = 4000
"""Columns of a waveform; more than a picture has pixels."""


class Timed(Protocol):
    """A word or segment of a transcript: seconds from the beginning of the audio."""

    @property
    def start(self) -> float:
        """Where it begins."""
        ...

    @property
    def end(self) -> float:
        """Where it ends."""
        ...


def plot_waveform(wav: Tensor, sample_rate: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the amplitude over time; long recordings as the envelope of their extremes.

    Args:
        wav: float wav, (T,) or (C, T); channels are drawn over each other.
        sample_rate: Hz.
        ax: where to draw; None: a new figure (`ax.figure`).

    Returns:
        The axes, x in seconds.

    Raises:
        ModuleNotFoundError: when the extra `plot` is not installed.
        ValueError: when `wav` has another shape or no sample, or `sample_rate` is not positive.
    """
    channels = _channels(wav, sample_rate)
    ax = _new_axes() if ax is None else ax
    duration = channels.shape[1] / sample_rate
    for channel in channels:
        _draw_channel(ax, channel, sample_rate, 1.0 if len(channels) == 1 else 0.6)
    limit = max(float(channels.abs().max()) * 1.05, 1e-3)
    ax.set(xlim=(0, duration), ylim=(-limit, limit), xlabel="Time (s)", ylabel="Amplitude")
    ax.axhline(0, color=INK, linewidth=0.4, alpha=0.5)
    tidy(ax)
    return ax


def plot_spectrogram(
    wav: Tensor,
    sample_rate: int,
    kind: Literal["mel", "stft"] = "mel",
    ax: "Axes | None" = None,
    *,
    beside: Tensor | None = None,
) -> "Axes":
    """Draw the energy over time and frequency, in decibels below the loudest point.

    Args:
        wav: float wav, (T,) or (C, T); channels are averaged.
        sample_rate: Hz.
        kind: "mel" for 80 mel bands (librosa's Slaney scale), "stft" for linear frequency.
        ax: where to draw; None: a new figure (`ax.figure`).
        beside: a sound to compare with, of the same rate; 0 dB is its loudest point.

    Returns:
        The axes, x in seconds, y in Hz; the picture is `ax.collections[0]`.

    Raises:
        ModuleNotFoundError: when the extra `plot` is not installed.
        ValueError: when `kind`, the shape of `wav` or `sample_rate` is not one of the above.
    """
    if kind not in ("mel", "stft"):
        raise ValueError(f"kind is {kind!r}: expected 'mel' or 'stft'")
    mono = _channels(wav, sample_rate).mean(0)
    librosa, display = _need("librosa"), _need("librosa.display")
    ax = _new_axes() if ax is None else ax
    size, hop = _window(sample_rate), _hop(mono.numel(), sample_rate)
    power = _power(mono, sample_rate, kind)
    other = None if beside is None else _channels(beside, sample_rate).mean(0)
    reference = power if other is None else _power(other, sample_rate, kind)
    display.specshow(
        librosa.power_to_db(power, ref=max(float(reference.max()), 1e-10), top_db=None),
        sr=sample_rate,
        n_fft=size,
        hop_length=hop,
        x_axis="time",
        y_axis="mel" if kind == "mel" else "linear",
        ax=ax,
        cmap=_COLORS,
        vmin=-_DECIBELS,
        vmax=0.0,
    )
    ax.set(xlim=(0, mono.numel() / sample_rate), ylim=(0, sample_rate / 2))
    ax.set(xlabel="Time (s)", ylabel="Frequency (Hz)")
    if kind == "mel":
        round_hertz = [0, 250, 500, 1000, 2000, 4000, 8000, 16000]
        ticks = [hertz for hertz in round_hertz if hertz <= sample_rate / 2]
        ax.set_yticks(ticks, [str(hertz) for hertz in ticks])
    tidy(ax)
    return ax


def plot_overview(
    wav: Tensor,
    sample_rate: int,
    segments: Iterable[SpeechSegment | Timed] | None = None,
    *,
    kind: Literal["mel", "stft"] = "mel",
    title: str | None = None,
) -> "Figure":
    """Draw the waveform above the spectrogram, with speech or words marked in both.

    Args:
        wav: float wav, (T,) or (C, T).
        sample_rate: Hz.
        segments: `SpeechSegment`s, or words or segments of a transcript, which are labelled with
            their text.
        kind: scale of the spectrogram.
        title: heading of the picture.

    Returns:
        A figure with the axes waveform, spectrogram and colour bar.

    Raises:
        ModuleNotFoundError: when the extra `plot` is not installed.
        ValueError: see `plot_waveform`.
    """
    figure = new_figure(10, 5)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.8), width_ratios=(60, 1))
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    plot_waveform(wav, sample_rate, above)
    plot_spectrogram(wav, sample_rate, kind, below)
    above.set_xlabel("")
    above.tick_params(labelbottom=False)
    bar = figure.colorbar(below.collections[0], cax=figure.add_subplot(grid[1, 1]))
    bar.set_label("dB below the loudest", color=INK, fontsize=9)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    for segment in segments or ():
        _mark(above, below, segment)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=11)
    return figure


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write a figure; the format follows the suffix (.png, .svg, .pdf).

    The file appears complete or not at all: it is written beside its place and then moved.

    Returns:
        The path.

    Raises:
        FileNotFoundError: when the folder does not exist.
        ValueError: when matplotlib cannot write the format.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} in: create it first")
    known = figure.canvas.get_supported_filetypes()
    kind = path.suffix.lower().lstrip(".")
    if kind not in known:
        raise ValueError(f"cannot write {path.name}: expected a suffix among {', '.join(known)}")
    # Not a file of `tempfile`: those can be read by their owner only, and stay so when moved.
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with part.open("xb") as file:
            figure.savefig(file, format=kind, dpi=150)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def to_image(figure: "Figure") -> Tensor:
    """Render a figure as uint8 (3, H, W), as TensorBoard's `add_image` takes it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return pixels.reshape(height, width, 4)[..., :3].permute(2, 0, 1).contiguous()


def _power(mono: Tensor, sample_rate: int, kind: Literal["mel", "stft"]) -> Any:
    """Return the power over frequency and time as an array."""
    librosa = _need("librosa")
    size, hop = _window(sample_rate), _hop(mono.numel(), sample_rate)
    # librosa would centre the frames of anything shorter than a window with a warning.
    samples = torch.nn.functional.pad(mono, (0, max(0, size - mono.numel()))).numpy()
    if kind == "mel":
        return librosa.feature.melspectrogram(
            y=samples, sr=sample_rate, n_fft=size, hop_length=hop, n_mels=80
        )
    return abs(librosa.stft(samples, n_fft=size, hop_length=hop)) ** 2


def _mark(above: "Axes", below: "Axes", segment: SpeechSegment | Timed) -> None:
    """Shade a stretch in both axes and write its text above it."""
    if isinstance(segment, SpeechSegment):
        start, end = segment.start_seconds, segment.end_seconds
    else:
        start, end = segment.start, segment.end
    above.axvspan(start, end, color=_SPEECH, alpha=0.22, linewidth=0, zorder=0)
    for edge in (start, end):
        above.axvline(edge, color=_SPEECH, linewidth=0.7, alpha=0.8, zorder=0.5)
        below.axvline(edge, color="white", linewidth=0.7, alpha=0.5, linestyle=(0, (4, 3)))
    text = (getattr(segment, "word", None) or getattr(segment, "text", None) or "").strip()
    left, right = above.get_xlim()
    if text and left <= (start + end) / 2 <= right:
        above.annotate(
            text,
            ((start + end) / 2, 1.03),
            xycoords=above.get_xaxis_transform(),
            rotation=35,
            ha="left",
            va="bottom",
            rotation_mode="anchor",
            fontsize=8,
            color=INK,
            annotation_clip=False,
        )


def _draw_channel(ax: "Axes", channel: Tensor, sample_rate: int, alpha: float) -> None:
    width = -(-channel.numel() // _MAX_COLUMNS)
    if width == 1:
        times = torch.arange(channel.numel()) / sample_rate
        ax.plot(times.numpy(), channel.numpy(), color=_WAVE, linewidth=0.7, alpha=alpha)
        return
    whole = channel.numel() // width * width
    # A rest shorter than a column joins the last one, so that no click at the end is lost.
    columns = channel[:whole].reshape(-1, width)
    low, high = columns.amin(1), columns.amax(1)
    if whole < channel.numel():
        low[-1] = torch.minimum(low[-1], channel[whole:].min())
        high[-1] = torch.maximum(high[-1], channel[whole:].max())
    times = (torch.arange(len(low)) + 0.5) * width / sample_rate
    ax.fill_between(
        times.numpy(), low.numpy(), high.numpy(), color=_WAVE, linewidth=0.3, alpha=alpha
    )


def _channels(wav: Tensor, sample_rate: int) -> Tensor:
    if wav.dim() not in (1, 2) or wav.numel() == 0:
        raise ValueError(f"wav has shape {tuple(wav.shape)}: expected (T,) or (C, T), T > 0")
    if sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}: expected Hz, more than 0")
    return wav.detach().to("cpu", torch.float32).reshape(-1, wav.shape[-1])


def _window(sample_rate: int) -> int:
    """Return the power of two next above 25 ms, in samples, but no less than 256."""
    return max(256, 1 << (sample_rate // 40 - 1).bit_length())


def _hop(samples: int, sample_rate: int) -> int:
    """Return 10 ms, or more where that would make more columns than a picture can show."""
    return max(1, sample_rate // 100, samples // _MAX_COLUMNS)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, of so many inches, that needs no display.

    Raises:
        ModuleNotFoundError: when the extra `plot` is not installed.
    """
    figure: Figure = _need("matplotlib.figure").Figure(
        figsize=(width, height), dpi=100, layout="constrained", facecolor="white"
    )
    _need("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def _new_axes() -> "Axes":
    return new_figure(10, 3).add_subplot()


def tidy(ax: "Axes") -> None:
    """Give axes the look that all pictures share."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(INK)
        ax.spines[side].set_linewidth(0.6)
    ax.tick_params(colors=INK, labelsize=8, width=0.6)
    ax.xaxis.label.set(color=INK, fontsize=9)
    ax.yaxis.label.set(color=INK, fontsize=9)


def _need(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(
            f"pictures need {e.name}, which is not installed: pip install 'echoic[plot]'",
            name=e.name,
        ) from e

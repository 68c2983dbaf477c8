"""A picture of what a codec does to a recording: before, after, and the codes between."""

from typing import TYPE_CHECKING

from torch import Tensor

from echoic.audio.plot import INK, new_figure, plot_spectrogram, plot_waveform, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CODES = "viridis"
# Books that are numbered one by one; of more, only some.
_NUMBERED_BOOKS = 12


def plot_codec(
    wav: Tensor,
    decoded: Tensor,
    codes: Tensor,
    *,
    sample_rate: int,
    frame_rate: float,
    codebook_size: int,
    title: str | None = None,
) -> "Figure":
    """Draw a recording beside its reconstruction, and its codes below.

    Waveforms share one scale, spectrograms another, so that what got lost shows.

    Args:
        wav: (T,) or (1, T) float, the original at the codec's rate.
        decoded: the same shape, its reconstruction.
        codes: (Q, F) integers from 0 to `codebook_size` - 1.
        sample_rate: Hz.
        frame_rate: frames of codes a second.
        codebook_size: K.
        title: heading of the picture.

    Returns:
        A figure; `echoic.audio.plot.save_figure` writes it.

    Raises:
        ModuleNotFoundError: when the extra `plot` is not installed.
        ValueError: another shape, or no samples.
    """
    if wav.shape != decoded.shape or codes.dim() != 2:
        raise ValueError(
            f"shapes are {tuple(wav.shape)}, {tuple(decoded.shape)} and {tuple(codes.shape)}, "
            "expected two waveforms of one length and codes (books, frames)"
        )
    figure = new_figure(12, 7.5)
    grid = figure.add_gridspec(
        3, 3, height_ratios=(1, 1.7, 0.5 + min(codes.shape[0], 16) / 12), width_ratios=(40, 40, 1)
    )
    _draw_sounds(figure, grid, wav, decoded, sample_rate)
    below = figure.add_subplot(grid[2, :2])
    picture = _draw_codes(below, codes, frame_rate, codebook_size)
    below.set_xlim(0, max(codes.shape[1] / frame_rate, wav.shape[-1] / sample_rate))
    _draw_bar(figure, picture, grid[2, 2], "code")
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=11)
    return figure


def _draw_sounds(
    figure: "Figure", grid: object, wav: Tensor, decoded: Tensor, sample_rate: int
) -> None:
    """Draw both waveforms in the first row, both spectrograms in the second."""
    heads = (("Original", wav), ("Reconstruction", decoded))
    loudest = max(float(wav.abs().max()), float(decoded.abs().max()), 1e-3)
    picture = None
    for column, (head, sound) in enumerate(heads):
        above = figure.add_subplot(grid[0, column])  # pyright: ignore[reportIndexIssue]
        middle = figure.add_subplot(grid[1, column], sharex=above)  # pyright: ignore[reportIndexIssue]
        plot_waveform(sound, sample_rate, above)
        plot_spectrogram(sound, sample_rate, "mel", middle, beside=wav)
        above.set(xlabel="", ylim=(-1.05 * loudest, 1.05 * loudest))
        above.tick_params(labelbottom=False)
        above.set_title(head, loc="left", color=INK, fontsize=10)
        if column:
            for ax in (above, middle):
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
        picture = middle.collections[0]
    _draw_bar(figure, picture, grid[1, 2], "dB below the original's loudest")  # pyright: ignore[reportIndexIssue]


def _draw_codes(ax: "Axes", codes: Tensor, frame_rate: float, codebook_size: int) -> object:
    """Draw the first book at the top; a frame is as wide as it lasts."""
    books, frames = codes.shape
    picture = ax.imshow(
        codes.cpu().numpy(),
        cmap=_CODES,
        vmin=0,
        vmax=max(codebook_size - 1, 1),
        aspect="auto",
        interpolation="nearest",
        extent=(0, frames / frame_rate, books + 0.5, 0.5),
    )
    step = -(-books // _NUMBERED_BOOKS)
    ax.set_yticks(range(1, books + 1, step))
    ax.set(xlabel="Time (s)", ylabel="Book")
    ax.set_title(
        f"Codes: {books} a frame, {frame_rate:g} frames a second, books of {codebook_size}",
        loc="left",
        color=INK,
        fontsize=10,
    )
    for book in range(1, books):  # a hair between the books, which are not one surface
        ax.axhline(book + 0.5, color="white", linewidth=0.8)
    tidy(ax)
    ax.tick_params(left=False)
    return picture


def _draw_bar(figure: "Figure", picture: object, place: object, label: str) -> None:
    bar = figure.colorbar(picture, cax=figure.add_subplot(place))  # pyright: ignore
    bar.set_label(label, color=INK, fontsize=9)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]

"""A picture of an evaluation: error rate against latency, a line for each policy."""

from itertools import groupby
from typing import TYPE_CHECKING

from echoic.asr.latency.summary import Latency, Summary
from echoic.asr.stream_report import Report, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#2b3a4a"
_COLORS = ("#2f6f9f", "#f0a500", "#a23b72", "#3a8f5c", "#7a5195")


def plot_report(report: Report) -> "Figure":
    """Draw the word error rate over the median lag until words are settled.

    Full marks are lags on the audio clock, hollow ones with the time of computing; bars are 95 %
    intervals, and the dashed line the offline transcripts'. Settings without lags are left out.

    Returns:
        A figure of one axes; `echoic.audio.plot.save_figure` writes it.

    Raises:
        ModuleNotFoundError: when the extra `plot` is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(
            f"pictures need {e.name}, which is not installed: pip install 'echoic[plot]'",
            name=e.name,
        ) from e
    figure = Figure(figsize=(7, 4.5), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    drawn = [
        r for r in report.results if _lag(r.summary.audio_clock) == _lag(r.summary.audio_clock)
    ]
    groups = groupby(drawn, key=lambda result: result.policy)
    for number, (policy, group) in enumerate(groups):
        _draw_policy(ax, policy, list(group), _COLORS[number % len(_COLORS)])
    if report.offline is not None:
        rate, (low, high) = 100 * report.offline.rate, report.offline.interval()
        ax.axhline(rate, color=_INK, linestyle=(0, (5, 3)), linewidth=1, label="offline")
        ax.axhspan(100 * low, 100 * high, color=_INK, alpha=0.06, linewidth=0)
    ax.set(xlabel="Median lag until a word is settled (s)", ylabel="Word error rate (%)")
    ax.set_title(report.model, loc="left", color=_INK, fontsize=11)
    furthest = max((_lag(r.summary.wall_clock) for r in drawn), default=1.0)
    ax.set_xlim(0, 1.1 * max(furthest, 0.1))
    ax.set_ylim(bottom=0)
    if drawn or report.offline is not None:
        ax.legend(frameon=False, fontsize=8, labelcolor=_INK)
    _tidy(ax)
    return figure


def _draw_policy(ax: "Axes", policy: str, results: list[Result], color: str) -> None:
    results = sorted(results, key=lambda result: result.chunk_ms)
    rates = [100 * r.summary.errors.rate for r in results]
    lags = [_lag(r.summary.audio_clock) for r in results]
    behind = [_lag(r.summary.wall_clock) for r in results]
    ax.errorbar(
        lags,
        rates,
        yerr=_bars([r.summary for r in results]),
        color=color,
        marker="o",
        markersize=5,
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
        label=policy,
    )
    ax.plot(
        behind, rates, color=color, marker="o", linestyle="none", fillstyle="none", markersize=5
    )
    for result, lag, rate in zip(results, lags, rates, strict=True):
        ax.annotate(
            f"{result.chunk_ms:g} ms",
            (lag, rate),
            textcoords="offset points",
            xytext=(5, 5),
            fontsize=7,
            color=color,
        )


def _lag(latency: Latency) -> float:
    return latency.settled.median


def _bars(summaries: list[Summary]) -> list[list[float]]:
    """Return how far the intervals reach below and above the rates, in per cent."""
    rates = [s.errors.rate for s in summaries]
    below = [100 * max(0.0, r - s.interval.low) for r, s in zip(rates, summaries, strict=True)]
    above = [100 * max(0.0, s.interval.high - r) for r, s in zip(rates, summaries, strict=True)]
    return [below, above]


def _tidy(ax: "Axes") -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_INK)
        ax.spines[side].set_linewidth(0.6)
    ax.tick_params(colors=_INK, labelsize=8, width=0.6)
    ax.xaxis.label.set(color=_INK, fontsize=9)
    ax.yaxis.label.set(color=_INK, fontsize=9)

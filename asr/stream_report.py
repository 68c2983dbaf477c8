"""What an evaluation found: a table for people, JSON for programs."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from echoic.asr.latency.summary import Latency, Summary, plain
from echoic.asr.metrics import ErrorRate

_SETTING = ("policy", "chunk ms")
_TEXT_COLUMNS = (*_SETTING, "WER %", "95 %", "relative %", "to offline %")
_TEXT_COLUMNS += ("churn %", "erasure %", "broken", "on silence /h")
_LATENCY_COLUMNS = (*_SETTING, "right %", "clock", "first word", "p95", "shown", "p95")
_LATENCY_COLUMNS += ("settled", "p90", "p95", "promised", "p95", "AL", "LAAL", "DAL", "AP")
_WORK_COLUMNS = (*_SETTING, "RTF", "ms a chunk", "p95", "max")
_WORK_COLUMNS += ("word begins off ms", "bias", "word ends off ms", "bias")


class Failure(NamedTuple):
    """A recording, or a setting, that could not be evaluated, and why, in one line."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Result:
    """One way to stream, over the test set.

    Attributes:
        policy: name of the policy.
        chunk_ms: sound heard at once.
        summary: all measurements.
        to_offline: errors against the offline transcripts instead of the references; None without.
    """

    policy: str
    chunk_ms: float
    summary: Summary
    to_offline: ErrorRate | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "policy": self.policy,
            "chunk_ms": self.chunk_ms,
            **self.summary.to_dict(),
            "to_offline": None if self.to_offline is None else plain(self.to_offline.rate),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation.

    Attributes:
        model: its name.
        results: one a setting, in the order asked for.
        offline: errors of the offline transcripts of the same recordings; None when not asked for.
        failures: what could not be evaluated.
        feed_ms: length of the pieces of sound that were fed.
    """

    model: str
    results: tuple[Result, ...]
    offline: ErrorRate | None = None
    failures: tuple[Failure, ...] = ()
    feed_ms: float = 20.0

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; keys do not change between versions."""
        return {
            "model": self.model,
            "feed_ms": self.feed_ms,
            "offline": None if self.offline is None else _offline(self.offline),
            "results": [result.to_dict() for result in self.results],
            "failures": [failure._asdict() for failure in self.failures],
        }

    def to_json(self) -> str:
        """Return the report as indented JSON, with the line's end."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def table(self) -> str:
        """Return the report as three tables of aligned columns, with the line's end."""
        parts = [self._head(), self._text(), self._latency(), self._work()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        if not self.results:
            return f"{self.model}: nothing was recognised"
        first = self.results[0].summary
        left_out = len(self.failures)
        return (
            f"{self.model}: {first.recordings} recordings, {first.audio_seconds / 60:.1f} min"
            + (f", {left_out} failed" if left_out else "")
        )

    def _text(self) -> str:
        if not self.results and self.offline is None:
            return ""
        rows = [[*_TEXT_COLUMNS]]
        if self.offline is not None:
            rows.append(["offline", "-", *_rate(self.offline), "-", "-", "-", "-", "-", "-"])
        for result in self.results:
            s = result.summary
            to_offline = math.nan if result.to_offline is None else result.to_offline.rate
            shares = (s.relative, to_offline, s.churn, s.erasure)
            rows.append([*_setting(result), *_rate(s.errors), *map(percent, shares)])
            rows[-1] += [str(s.broken), number(s.insertions_per_hour, 1)]
        return align(rows)

    def _latency(self) -> str:
        if not self.results:
            return ""
        rows = [[*_LATENCY_COLUMNS]]
        for result in self.results:
            for name, latency in _clocks(result.summary):
                right = percent(result.summary.matched)
                rows.append([*_setting(result), right, name, *_delays(latency)])
        head = "Seconds from a word's end until it was there, over the words that are right"
        return f"{head}\n{align(rows)}"

    def _work(self) -> str:
        if not self.results:
            return ""
        rows = [[*_WORK_COLUMNS]]
        for result in self.results:
            s = result.summary
            work = s.chunk_compute
            rows.append(
                [*_setting(result), number(s.rtf, 3)]
                + [number(1000 * v, 0) for v in (work.median, work.p95, work.largest)]
                + [number(1000 * s.start_error.median, 0), number(1000 * s.start_bias, 0)]
                + [number(1000 * s.end_error.median, 0), number(1000 * s.end_bias, 0)]
            )
        return align(rows)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines: the first column from the left, numbers from the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def number(value: float, decimals: int) -> str:
    """Return a number with so many decimals, "-" for NaN."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else "-"


def percent(value: float) -> str:
    """Return a share in per cent, "-" for NaN."""
    return number(100 * value, 1)


def _setting(result: Result) -> list[str]:
    return [result.policy, f"{result.chunk_ms:g}"]


def _rate(errors: ErrorRate) -> list[str]:
    low, high = errors.interval()
    return [percent(errors.rate), f"{percent(low)}-{percent(high)}"]


def _clocks(summary: Summary) -> Iterable[tuple[str, Latency]]:
    return (("audio", summary.audio_clock), ("+ work", summary.wall_clock))


def _delays(latency: Latency) -> list[str]:
    first, shown, settled = latency.first_word, latency.shown, latency.settled
    spreads = [first.median, first.p95, shown.median, shown.p95]
    spreads += [settled.median, settled.p90, settled.p95]
    spreads += [latency.promised.median, latency.promised.p95]
    measures: list[Callable[[Any], float]] = [
        lambda lag: lag.al,
        lambda lag: lag.laal,
        lambda lag: lag.dal,
        lambda lag: lag.ap,
    ]
    lag = latency.lagging_settled
    return [
        number(v, 2) for v in (*spreads, *(math.nan if lag is None else m(lag) for m in measures))
    ]


def _offline(errors: ErrorRate) -> dict[str, Any]:
    return plain(
        {
            "rate": errors.rate,
            "interval": errors.interval(),
            "substitutions": errors.substitutions,
            "deletions": errors.deletions,
            "insertions": errors.insertions,
            "words": errors.num_words,
        }
    )

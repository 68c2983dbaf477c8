"""Paired, interleaved measurements, and the tables made of them."""

import importlib.metadata
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from benchmarks.rivals import Process, Run
from benchmarks.rows import Row
from benchmarks.settings import Settings

from echoic.asr.metrics import ErrorRate, word_error_rate
from echoic.asr.text.normalizers import english

Say = Callable[[str], None]


@dataclass(slots=True)
class Measured:
    """All passes of one system.

    Attributes:
        process: the system.
        runs: its passes, in order.
        partners: for each pass, the pass of the baseline just before it; empty for the baseline.
        error_rate: of the last pass.
    """

    process: Process
    runs: list[Run] = field(default_factory=list[Run])
    partners: list[Run] = field(default_factory=list[Run])
    error_rate: ErrorRate = field(default_factory=lambda: ErrorRate(()))

    @property
    def wall(self) -> float:
        """Median seconds."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def ratios(self) -> list[float]:
        """Time of each pass over that of the baseline's pass beside it."""
        return [run.wall / base.wall for run, base in zip(self.runs, self.partners, strict=True)]

    def ratio_to(self, other: "Measured") -> float:
        """Median ratio to another system of the same rounds, whose passes lay farther off."""
        return statistics.median(
            mine.wall / theirs.wall for mine, theirs in zip(self.runs, other.runs, strict=True)
        )


def measure(
    baseline: Process, others: Sequence[Process], rows: Sequence[Row], settings: Settings, say: Say
) -> list[Measured]:
    """Run baseline, other, baseline, other ... and return the baseline's passes, then the others'.

    Each system first transcribes the first rows once without being measured.
    """
    files = [row.audio for row in rows]
    first, rest = Measured(baseline), [Measured(process) for process in others]
    for round_number in range(settings.runs):
        for one in rest:
            base = baseline.transcribe(files)
            run = one.process.transcribe(files)
            first.runs.append(base)
            one.partners.append(base)
            one.runs.append(run)
            say(
                f"round {round_number + 1}/{settings.runs}  {one.process.spec.name}: "
                f"{run.wall:.2f} s, {baseline.spec.name} beside it {base.wall:.2f} s"
            )
    references = [row.text for row in rows]
    for one in (first, *rest):
        one.error_rate = score(references, one.runs[-1].texts)
    return [first, *rest]


def score(references: Sequence[str], texts: Sequence[str]) -> ErrorRate:
    """Return the word error rate after Whisper's English normaliser."""
    return word_error_rate(references, list(texts), english())


def table(measured: Sequence[Measured], seconds: float, pivot: Measured | None = None) -> str:
    """Lay out one line per system.

    Args:
        measured: the baseline first.
        seconds: of sound in one pass.
        pivot: a second system of ours to give ratios to.
    """
    titles = ["system", "how", f"time / {measured[0].process.spec.name}", "min-max"]
    if pivot is not None:
        titles.append(f"time / {pivot.process.spec.name}")
    titles += ["wall s", "CPU s", "x real time", "WER %", "(95 %)", "peak MB", "load s", "others"]
    lines = [titles]
    for one in measured:
        line = [one.process.spec.name, one.process.about, *_ratios(one)]
        if pivot is not None:
            line.append(f"{one.ratio_to(pivot):.2f}" if one.partners else "-")
        lines.append([*line, *_plain(one, seconds)])
    return align(lines)


def _ratios(one: Measured) -> list[str]:
    if not one.partners:
        return ["1", "-"]
    ratios = one.ratios
    return [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"]


def _plain(one: Measured, seconds: float) -> list[str]:
    low, high = one.error_rate.interval()
    # One long recording is one utterance: nothing can be drawn anew.
    interval = f"{100 * low:.1f}-{100 * high:.1f}" if len(one.error_rate.utterances) > 1 else "-"
    return [
        f"{one.wall:.2f}",
        f"{statistics.median(run.cpu for run in one.runs):.2f}",
        f"{seconds / one.wall:.0f}",
        f"{100 * one.error_rate.rate:.2f}",
        interval,
        f"{one.runs[-1].peak / 1e6:.0f}",
        f"{one.process.load:.1f}",
        f"{statistics.median(run.others for run in one.runs):.2f}",
    ]


def align(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rows.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(rows)


def describe(title: str, rows: Sequence[Row], settings: Settings) -> str:
    """Return what a reader of the table must know: machine, versions, data, settings."""
    names = ("torch", "openai-whisper", "faster-whisper", "ctranslate2")
    fallback = "on (but not in the batched pipeline)" if settings.fallback else "off"
    return "\n".join(
        [
            f"## {title}",
            f"{len(rows)} files, {sum(row.seconds for row in rows):.0f} s; model {settings.model}; "
            f"{settings.runs} paired runs; {settings.threads} threads each; "
            f"greedy, English; fallback to higher temperatures {fallback}",
            machine(names),
        ]
    )


def machine(packages: Sequence[str]) -> str:
    """Return the processor, how busy it is, and the versions of packages, in one line."""
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return (
        f"{_processor()}, {psutil.cpu_count()} processors, load {psutil.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

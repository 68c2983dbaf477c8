"""Offline transcription against its rivals, with the same weights, files and threads.

Time is printed, never judged; what fails is text that is worse than the rivals', a text missing,
or memory that grows with the recording.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.conftest import Start
from benchmarks.measure import Measured, Say, align, describe, measure, score, table
from benchmarks.rivals import echoic, rivals
from benchmarks.rows import Row, join_rows
from benchmarks.settings import Settings
from benchmarks.weights import Weights

pytestmark = pytest.mark.timeout(0)  # none

# Ours may err on this share of words more than the median rival: tens of files are no test set.
TOLERANCE = 0.03
USABLE = 0.3
MEMORY_TIMES = 12
FULL_MINUTES = 10  # a shorter recording does not fill one batch, and so needs less than it may
# Bytes. Two hours meet more lengths of window (oneDNN keeps code for each) and more second tries
# at once than ten minutes do; both are bounded.
MAX_GROWTH = 200e6


def test_short(
    rows: list[Row], weights: Weights, settings: Settings, start: Start, say: Say
) -> None:
    """Single utterances: ours as one batch, rivals file by file."""
    measured = compare(rows, weights, settings, start, say, "short: single utterances", (16,))
    check_texts(measured, len(rows))


def test_long(
    rows: list[Row],
    weights: Weights,
    settings: Settings,
    start: Start,
    say: Say,
    tmp_path: Path,
) -> None:
    """One long recording with pauses; all systems warm up on single utterances."""
    long = join_rows(rows, tmp_path / "long.flac", 60 * settings.minutes)
    title = f"long: one recording of {long.seconds / 60:.1f} minutes"
    measured = compare([long], weights, settings, start, say, title, (8, 16), warm_up=rows)
    check_texts(measured, 1)


def test_memory(
    rows: list[Row], settings: Settings, start: Start, say: Say, tmp_path: Path
) -> None:
    """A recording twelve times as long needs no more memory."""
    lines = [["minutes", "peak MB", "wall s", "x real time", "WER %"]]
    peaks: list[int] = []
    for times in (1, MEMORY_TIMES):
        row = join_rows(rows, tmp_path / f"{times}.flac", 60 * settings.minutes * times)
        spec = echoic(settings.model, name=f"echoic {times}")
        (process,) = start([spec], rows)
        run = process.transcribe([row.audio])
        rate = score([row.text], run.texts).rate
        assert rate < USABLE
        peaks.append(run.peak)
        lines.append(
            [
                f"{row.seconds / 60:.1f}",
                f"{run.peak / 1e6:.0f}",
                f"{run.wall:.1f}",
                f"{row.seconds / run.wall:.0f}",
                f"{100 * rate:.2f}",
            ]
        )
    say(describe("memory", [row], dataclasses.replace(settings, runs=1)) + "\n" + align(lines))
    if settings.minutes < FULL_MINUTES:
        say(f"growth not judged: the shorter recording is below {FULL_MINUTES} minutes")
    else:
        assert peaks[1] - peaks[0] < MAX_GROWTH


def compare(
    rows: Sequence[Row],
    weights: Weights,
    settings: Settings,
    start: Start,
    say: Say,
    title: str,
    batch_sizes: Sequence[int],
    warm_up: Sequence[Row] | None = None,
) -> list[Measured]:
    """Measure ours and all rivals on the same rows and print the table."""
    say(describe(title, rows, settings))
    ours, plain = echoic(weights.box), echoic(weights.box, "float32")
    specs = [ours, plain, *rivals(weights, batch_sizes)]
    first, *rest = start(specs, warm_up or rows)
    measured = measure(first, rest, rows, settings, say)
    seconds = sum(row.seconds for row in rows)
    say(table(measured, seconds, pivot=measured[1]))
    return measured


def check_texts(measured: Sequence[Measured], num_files: int) -> None:
    """Every system gave a text for every file, and ours are as good as the rivals'."""
    for one in measured:
        assert all(len(run.texts) == num_files for run in one.runs), one.process.spec.name
        assert one.error_rate.rate < USABLE, one.process.spec.name
    theirs = [one.error_rate.rate for one in measured if not one.process.spec.ours]
    if not theirs:
        return
    for one in measured:
        if one.process.spec.ours:
            assert one.error_rate.rate <= statistics.median(theirs) + TOLERANCE

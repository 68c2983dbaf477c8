"""The judgement of a talker for people: a table of what it says, one of what it costs, notes."""

import math

from rich.table import Table

from echoic.asr.metrics import ErrorRate
from echoic.codecs.metrics.report import number
from echoic.codecs.metrics.scorers import KINDS
from echoic.recipes.speech_eval.report import Report, Version
from echoic.recipes.speech_eval.speakers import SPEAKER

LABELS = {kind.name: kind.label for kind in (*KINDS, SPEAKER)}


def tables(report: Report) -> list[Table]:
    """Return a report as tables for a terminal."""
    return [_speech_table(report), _cost_table(report)]


def notes(report: Report) -> list[str]:
    """Return the lines that tell how numbers were made and which are missing."""
    settings = report.settings
    versions = ", ".join(settings.packages) or "none"
    lines = [
        f"heard by {settings.recognizer} in float32, seed {settings.seed}; in brackets 95 % by "
        f"bootstrap over sentences; packages: {versions}"
    ]
    if "codec" in report.versions:
        lines.append(
            f"codec: recordings as {settings.num_codebooks} codes of {settings.codec} have them, "
            "the best that a talker of this codec can be"
        )
    return lines + [f"no {LABELS.get(n, n)}: {why}" for n, why in report.missing.items()]


def _speech_table(report: Report) -> Table:
    versions = report.versions
    table = Table(title=f"{report.settings.model}: what is heard", title_justify="left")
    table.add_column("measure")
    for version in versions:
        table.add_column(version, justify="right")
    table.add_row("sentences", *(str(len(report.takes(v))) for v in versions))
    table.add_row("seconds of speech", *(f"{report.seconds(v):.1f}" for v in versions))
    table.add_row("WER %", *(_percent(report.words(v)) for v in versions))
    table.add_row("CER %", *(_percent(report.characters(v)) for v in versions))
    for name in report.score_names:
        table.add_row(LABELS.get(name, name), *(_score(report, name, v) for v in versions))
    return table


def _cost_table(report: Report) -> Table:
    settings = report.settings
    table = Table(title="how it speaks", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    endings = ", ".join(f"{n} {kind}" for kind, n in report.endings.items() if n and kind != "end")
    cut = f"{report.cut} of {len(report.rows)}"
    table.add_row("sentences that did not end", f"{cut} ({endings})" if endings else cut)
    for share, label in ((0.5, "p50"), (0.95, "p95")):
        ms = report.first_audio(share)
        table.add_row(f"ms to the first sound, {label}", number(ms and 1000 * ms, 0))
    where = f"{settings.device}, threads: {settings.threads}"
    table.add_row(f"RTF of speaking ({where})", number(report.rtf, 3))
    return table


def _percent(rate: ErrorRate) -> str:
    if not math.isfinite(rate.rate):
        return "-"
    low, high = rate.interval()
    return f"{100 * rate.rate:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def _score(report: Report, name: str, version: Version) -> str:
    return number(report.score(name, version).mean, 3)

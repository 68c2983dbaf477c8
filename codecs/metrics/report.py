"""What an evaluation of a codec found: a table for people, JSON for programs."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from echoic.codecs.quantize.usage import usage

RESAMPLER = "soxr HQ"
ALIGNMENT = "equal lengths, sample by sample, no search for a delay"

# name -> label, unit, which way is better, decimals
_SCORES = {
    "pesq_wb": ("PESQ-WB", "1 to 4.64", "higher", 3),
    "stoi": ("STOI", "0 to 1", "higher", 4),
    "mel_distance": ("mel distance", "7 windows, log10", "lower", 3),
    "stft_distance": ("STFT distance", "2 windows", "lower", 3),
    "si_sdr": ("SI-SDR", "dB", "higher", 2),
    "visqol": ("ViSQOL speech", "1 to 5", "higher", 3),
    "dnsmos": ("DNSMOS P.835 overall", "1 to 5", "higher", 3),
    "dnsmos_original": ("  of the originals", "1 to 5", "", 3),
    "distillmos": ("DistillMOS", "1 to 5", "higher", 3),
    "distillmos_original": ("  of the originals", "1 to 5", "", 3),
}


class Failure(NamedTuple):
    """A recording that could not be measured, and why, in one line."""

    name: str
    message: str


class Mean(NamedTuple):
    """A score over recordings: those for which it is defined.

    Attributes:
        mean: None where there are none.
        std: with n - 1; None for fewer than two.
        num: how many.
    """

    mean: float | None
    std: float | None
    num: int


@dataclass(frozen=True, slots=True)
class Row:
    """One recording.

    Attributes:
        name: its name.
        seconds: its length.
        encode_seconds: time that coding took, without reading and resampling.
        decode_seconds: time that decoding took.
        packed_bytes: its codes, packed.
        entropy_bytes: its codes, entropy coded in segments of 2 s.
        scores: by name; None where one is not defined.
    """

    name: str
    seconds: float
    encode_seconds: float
    decode_seconds: float
    packed_bytes: int
    entropy_bytes: int
    scores: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What was measured, and how.

    Attributes:
        model: the codec's name.
        weights: hash of its weights.
        sample_rate: Hz, at which all is compared.
        frame_rate: Hz.
        num_codebooks: codes of a frame.
        codebook_size: K.
        bitrate: bits a second of packed codes.
        device: where it ran.
        threads: that torch used.
        packages: that computed scores, with versions.
        resampler: to the codec's rate, and to the 16 kHz of scores of speech.
        alignment: of reconstruction and original.
    """

    model: str
    weights: str
    sample_rate: int
    frame_rate: float
    num_codebooks: int
    codebook_size: int
    bitrate: float
    device: str
    threads: int
    packages: tuple[str, ...]
    resampler: str = RESAMPLER
    alignment: str = ALIGNMENT


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation.

    Attributes:
        settings: what was measured, and how.
        rows: one a recording.
        counts: (Q, K) how often each code occurred.
        failures: what could not be measured.
        missing: why scores could not be computed, by name.
    """

    settings: Settings
    rows: tuple[Row, ...]
    counts: Tensor
    failures: tuple[Failure, ...]
    missing: dict[str, str]

    @property
    def seconds(self) -> float:
        """Sound measured."""
        return sum(row.seconds for row in self.rows)

    @property
    def encode_rtf(self) -> float | None:
        """Time of coding over the length of the sound."""
        return self._per_second([row.encode_seconds for row in self.rows])

    @property
    def decode_rtf(self) -> float | None:
        """Time of decoding over the length of the sound."""
        return self._per_second([row.decode_seconds for row in self.rows])

    @property
    def entropy_saving(self) -> float | None:
        """Share of the packed bytes that entropy coding saves."""
        packed = sum(row.packed_bytes for row in self.rows)
        coded = sum(row.entropy_bytes for row in self.rows)
        return 1 - coded / packed if packed else None

    def score(self, name: str) -> Mean:
        """Return a score over all recordings, each counting the same."""
        values = [v for row in self.rows if (v := row.scores.get(name)) is not None]
        if not values:
            return Mean(None, None, 0)
        tensor = torch.tensor(values, dtype=torch.float64)
        std = float(tensor.std()) if len(values) > 1 else None
        return Mean(float(tensor.mean()), std, len(values))

    def names(self) -> list[str]:
        """Return the names of scores, in the order of tables; those that are missing, too."""
        there = {name for row in self.rows for name in row.scores} | set(self.missing)
        return [name for name in _SCORES if name in there] + sorted(there - set(_SCORES))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        used = usage(self.counts)
        return {
            **asdict(self.settings),
            "recordings": len(self.rows),
            "seconds": self.seconds,
            "encode_rtf": self.encode_rtf,
            "decode_rtf": self.decode_rtf,
            "entropy_saving": self.entropy_saving,
            "scores": {name: self.score(name)._asdict() for name in self.names()},
            "usage": used.share.tolist(),
            "perplexity": used.perplexity.tolist(),
            "missing": self.missing,
            "failures": [failure._asdict() for failure in self.failures],
            "rows": [asdict(row) for row in self.rows],
        }

    def _per_second(self, seconds: Sequence[float]) -> float | None:
        return sum(seconds) / self.seconds if self.rows else None


def tables(report: Report) -> list[Table]:
    """Return a report as tables for a terminal."""
    return [_scores_table(report), _costs_table(report), _books_table(report)]


def notes(report: Report) -> list[str]:
    """Return the lines that tell how numbers were made and which are missing."""
    settings = report.settings
    versions = ", ".join(settings.packages) or "none"
    lines = [
        f"compared in mono at {settings.sample_rate} Hz ({settings.resampler}), "
        f"scores of speech at 16000 Hz; {settings.alignment}; packages: {versions}"
    ]
    return lines + [f"no {_label(name)}: {why}" for name, why in report.missing.items()]


def _scores_table(report: Report) -> Table:
    settings = report.settings
    table = Table(
        title=f"{settings.model}: {len(report.rows)} recordings, {report.seconds:.1f} s, "
        f"{settings.bitrate / 1000:g} kbit/s",
        title_justify="left",
    )
    table.add_column("score")
    for column in ("mean", "std", "n"):
        table.add_column(column, justify="right")
    table.add_column("scale")
    for name in report.names():
        label, unit, better, decimals = _SCORES.get(name, (name, "", "", 3))
        mean = report.score(name)
        scale = ", ".join(part for part in (unit, f"{better} is better" if better else "") if part)
        values = (number(mean.mean, decimals), number(mean.std, decimals), str(mean.num))
        table.add_row(label, *values, scale)
    return table


def _costs_table(report: Report) -> Table:
    settings, saving = report.settings, report.entropy_saving
    table = Table(title="cost", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_row("codes a frame x bits", f"{settings.num_codebooks} x {_bits(settings)}")
    table.add_row("frames a second", f"{settings.frame_rate:g}")
    table.add_row("kbit/s, packed", f"{settings.bitrate / 1000:.3f}")
    coded = None if saving is None else settings.bitrate * (1 - saving) / 1000
    table.add_row("kbit/s, entropy coded", number(coded, 3))
    where = f"{settings.device}, threads: {settings.threads}"
    table.add_row(f"RTF of encoding ({where})", number(report.encode_rtf, 4))
    table.add_row(f"RTF of decoding ({where})", number(report.decode_rtf, 4))
    return table


def _books_table(report: Report) -> Table:
    used = usage(report.counts)
    table = Table(title=f"books of {report.settings.codebook_size} codes", title_justify="left")
    table.add_column("book", justify="right")
    table.add_column("codes used", justify="right")
    table.add_column("perplexity", justify="right")
    for book, (share, perplexity) in enumerate(zip(*used, strict=True), start=1):
        table.add_row(str(book), f"{100 * float(share):.1f} %", f"{float(perplexity):.1f}")
    return table


def number(value: float | None, decimals: int) -> str:
    """Return a number for a table; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def _label(name: str) -> str:
    return _SCORES.get(name, (name,))[0].strip()


def _bits(settings: Settings) -> int:
    return (settings.codebook_size - 1).bit_length()

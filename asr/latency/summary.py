"""A test set in numbers: the measurements of its recordings, pooled."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from echoic.asr.latency.delays import Delays
from echoic.asr.latency.lagging import Lagging
from echoic.asr.latency.recording import Measurement, texts_of
from echoic.asr.metrics import ErrorRate, Interval, Normalizer, word_error_rate

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Spread:
    """A heap of numbers; NaN where there are none.

    Attributes:
        count: how many.
        median: half of them lie below.
        p90: 90 % lie below.
        p95: 95 % lie below.
        largest: of all.
    """

    count: int = 0
    median: float = NAN
    p90: float = NAN
    p95: float = NAN
    largest: float = NAN

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Describe numbers, in any order."""
        heap = np.fromiter(values, dtype=np.float64)
        if not len(heap):
            return cls()
        median, p90, p95 = (float(q) for q in np.quantile(heap, [0.5, 0.9, 0.95]))
        return cls(len(heap), median, p90, p95, float(heap.max()))


@dataclass(frozen=True, slots=True)
class Latency:
    """The delays of a test set on one clock, in seconds; see `Delays` for what each means.

    Attributes:
        first_word: over recordings.
        shown: over right words.
        settled: over right words.
        promised: over right words.
        lagging_shown: mean over recordings; None where nothing could be measured.
        lagging_settled: mean over recordings.
    """

    first_word: Spread
    shown: Spread
    settled: Spread
    promised: Spread
    lagging_shown: Lagging | None
    lagging_settled: Lagging | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A test set in numbers.

    Attributes:
        recordings: how many were recognised.
        audio_seconds: of all of them.
        errors: against the references, on normalised texts.
        interval: 95 % interval of the error rate, over recordings drawn anew.
        relative: relative word error rate (`relative_errors`); NaN without word times.
        insertions_per_hour: words heard in an hour of recordings without speech; NaN without such.
        timed_words: reference tokens with times.
        matched: share of them that were recognised, and so give lags; NaN without any.
        audio_clock: delays as if computing took no time.
        wall_clock: delays with the time of computing.
        churn: words of partials that changed later, over words of the final texts.
        erasure: words that had to be drawn anew, over words of the final texts.
        broken: words that changed although they had been promised to be stable.
        rtf: seconds of work a second of audio.
        chunk_compute: seconds of work a chunk.
        start_error: seconds by which right words are said to begin too late; absolute values.
        end_error: seconds by which they are said to end too late; absolute values.
        start_bias: median of the same with their signs.
        end_bias: median of the same with their signs.
    """

    recordings: int
    audio_seconds: float
    errors: ErrorRate
    interval: Interval
    relative: float
    insertions_per_hour: float
    timed_words: int
    matched: float
    audio_clock: Latency
    wall_clock: Latency
    churn: float
    erasure: float
    broken: int
    rtf: float
    chunk_compute: Spread
    start_error: Spread
    end_error: Spread
    start_bias: float
    end_bias: float

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; NaN and None are null. Keys are those of the attributes."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields |= {
            "errors": {
                "rate": self.errors.rate,
                "substitutions": self.errors.substitutions,
                "deletions": self.errors.deletions,
                "insertions": self.errors.insertions,
                "words": self.errors.num_words,
            },
            "interval": list(self.interval),
        }
        return plain(fields)


def summarise(measurements: Sequence[Measurement], normalizer: Normalizer | None = None) -> Summary:
    """Pool the measurements of a test set.

    Args:
        measurements: of its recordings.
        normalizer: for the word error rate; see `echoic.asr.text.normalizers`.

    Raises:
        ImportError: `jiwer` is not installed.
    """
    errors = word_error_rate(*texts_of(measurements), normalizer)
    seconds = sum(m.duration for m in measurements)
    words = sum(m.revisions.words for m in measurements)
    timed = sum(m.num_timed for m in measurements)
    relatives = [m.relative for m in measurements if m.relative is not None]
    starts = [e for m in measurements for e in m.start_errors]
    ends = [e for m in measurements for e in m.end_errors]
    return Summary(
        recordings=len(measurements),
        audio_seconds=seconds,
        errors=errors,
        interval=errors.interval(),
        relative=share(sum(r.errors for r in relatives), sum(r.words for r in relatives)),
        insertions_per_hour=_on_silence(measurements, errors, normalizer),
        timed_words=timed,
        matched=share(sum(m.num_right for m in measurements), timed),
        audio_clock=_latency([m.audio for m in measurements]),
        wall_clock=_latency([m.wall for m in measurements]),
        churn=share(sum(m.revisions.changed for m in measurements), words),
        erasure=share(sum(m.revisions.erased for m in measurements), words),
        broken=sum(m.revisions.broken for m in measurements),
        rtf=share(sum(sum(m.chunk_compute) for m in measurements), seconds),
        chunk_compute=Spread.of(c for m in measurements for c in m.chunk_compute),
        start_error=Spread.of(map(abs, starts)),
        end_error=Spread.of(map(abs, ends)),
        start_bias=Spread.of(starts).median,
        end_bias=Spread.of(ends).median,
    )


def share(part: float, whole: float) -> float:
    """Return a ratio, NaN of nothing."""
    return part / whole if whole else NAN


def plain(value: Any) -> Any:
    """Return a tree of dataclasses, mappings and numbers as JSON holds it, NaN as None."""
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value


def _latency(delays: Sequence[Delays]) -> Latency:
    return Latency(
        first_word=Spread.of(d.first_word for d in delays if d.first_word is not None),
        shown=Spread.of(lag for d in delays for lag in d.shown),
        settled=Spread.of(lag for d in delays for lag in d.settled),
        promised=Spread.of(lag for d in delays for lag in d.promised),
        lagging_shown=_mean(delays, lambda d: d.lagging_shown),
        lagging_settled=_mean(delays, lambda d: d.lagging_settled),
    )


def _mean(delays: Sequence[Delays], kind: Callable[[Delays], Lagging | None]) -> Lagging | None:
    known = [found for d in delays if (found := kind(d)) is not None]
    if not known:
        return None
    names = Lagging.__dataclass_fields__
    return Lagging(**{n: float(np.mean([getattr(found, n) for found in known])) for n in names})


def _on_silence(
    measurements: Sequence[Measurement], errors: ErrorRate, normalizer: Normalizer | None
) -> float:
    clean = normalizer or (lambda text: text)
    seconds = sum(m.duration for m in measurements if not clean(m.reference).strip())
    return share(errors.words_on_empty * 3600, seconds)

"""What a live session took: counters of constant size, however long it runs."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

# Bins of the histogram: each 2^(1/8) times the one before, so a percentile is within 5 %.
_BINS_PER_OCTAVE = 8
_LEAST_MS = 0.01
_NUM_BINS = 24 * _BINS_PER_OCTAVE


@dataclass(frozen=True, slots=True)
class SessionStats:
    """What a session heard, and how much work it was.

    Attributes:
        audio_seconds: sound that was heard.
        compute_seconds: time spent in the session, by its clock.
        rtf: compute_seconds / audio_seconds.
        chunks: blocks that the recogniser has worked on.
        chunk_ms_p50: median time for such a block, resampling and voice activity included, in
            milliseconds and within 5 %; 0 before the first.
        chunk_ms_p95: what 95 % of them stayed below.
        chunk_ms_max: the longest, exact.
        first_word_latency: seconds from where an utterance's first word begins until it is shown,
            work included; the mean over utterances, None before the first word.
        utterances: how many were opened.
        replaced_samples: values that were not finite, taken for 0.
        clipped_samples: values beyond [-1, 1], cut.
        skipped_seconds: sound that the caller skipped.
    """

    audio_seconds: float
    compute_seconds: float
    rtf: float
    chunks: int
    chunk_ms_p50: float
    chunk_ms_p95: float
    chunk_ms_max: float
    first_word_latency: float | None
    utterances: int
    replaced_samples: int
    clipped_samples: int
    skipped_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tally:
    """The counters behind `SessionStats`: a value, and part of the session's state.

    Attributes:
        chunk_bins: (1, bins) blocks by the logarithm of their time.
        slowest_ms: the longest.
        compute_seconds: time spent.
        first_words: utterances that have shown a word.
        first_word_seconds: sum of their latencies.
        utterances: opened.
        replaced: samples that were not finite.
        clipped: samples beyond [-1, 1].
        skipped_seconds: not heard.
    """

    chunk_bins: Tensor
    slowest_ms: float = 0.0
    compute_seconds: float = 0.0
    first_words: int = 0
    first_word_seconds: float = 0.0
    utterances: int = 0
    replaced: int = 0
    clipped: int = 0
    skipped_seconds: float = 0.0

    @classmethod
    def empty(cls) -> "Tally":
        """Return the counters before anything was heard."""
        return cls(torch.zeros(1, _NUM_BINS, dtype=torch.int64))

    @property
    def blocks(self) -> int:
        """How many were counted."""
        return int(self.chunk_bins.sum())

    def with_chunk(self, milliseconds: float) -> "Tally":
        """Return the counters after another block."""
        bins = self.chunk_bins.clone()
        bins[0, _bin(milliseconds)] += 1
        return replace(self, chunk_bins=bins, slowest_ms=max(self.slowest_ms, milliseconds))

    def with_first_word(self, latency: float) -> "Tally":
        """Return the counters after an utterance's first word, shown `latency` seconds late."""
        return replace(
            self,
            first_words=self.first_words + 1,
            first_word_seconds=self.first_word_seconds + max(0.0, latency),
        )

    def stats(self, audio_seconds: float) -> SessionStats:
        """Return the statistics of a session that has heard so much."""
        return SessionStats(
            audio_seconds=audio_seconds,
            compute_seconds=self.compute_seconds,
            rtf=self.compute_seconds / audio_seconds if audio_seconds else 0.0,
            chunks=self.blocks,
            chunk_ms_p50=self._percentile(0.5),
            chunk_ms_p95=self._percentile(0.95),
            chunk_ms_max=self.slowest_ms,
            first_word_latency=(
                self.first_word_seconds / self.first_words if self.first_words else None
            ),
            utterances=self.utterances,
            replaced_samples=self.replaced,
            clipped_samples=self.clipped,
            skipped_seconds=self.skipped_seconds,
        )

    def _percentile(self, share: float) -> float:
        reached = self.chunk_bins[0].cumsum(0)
        total = int(reached[-1])
        if total == 0:
            return 0.0
        index = int((reached >= share * total).nonzero()[0, 0])
        middle = _LEAST_MS * 2 ** ((index + 0.5) / _BINS_PER_OCTAVE)
        return min(middle, self.slowest_ms)


def _bin(milliseconds: float) -> int:
    if milliseconds <= _LEAST_MS:
        return 0
    return min(_NUM_BINS - 1, int(_BINS_PER_OCTAVE * math.log2(milliseconds / _LEAST_MS)))


class Stopwatch:
    """Reads a clock in laps.

    Attributes:
        total: seconds of all laps.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last = clock()
        self.total = 0.0

    def lap_ms(self) -> float:
        """Return the milliseconds since the last lap, or since the beginning."""
        now = self._clock()
        seconds, self._last = now - self._last, now
        self.total += seconds
        return 1000.0 * seconds

"""How much of what was shown had to be taken back, and how right it was while it was spoken."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from echoic.asr.latency.timeline import Timeline, common_prefix
from echoic.asr.latency.tokens import Token
from echoic.asr.metrics import word_error_rate

MOST_MOMENTS = 200
"""Moments of a recording at most; comparing hours of text at every chunk would take hours."""


class Revisions(NamedTuple):
    """What was taken back between one snapshot and the next, summed over a recording.

    Attributes:
        changed: words that were replaced or removed (the unstable partial words of Shangguan et al.
            2020).
        erased: words behind the first difference, which a screen has to draw anew (the erasure of
            Arivazhagan et al. 2020).
        broken: words that had been promised to be stable and changed all the same.
        words: words that the recording ended with.
    """

    changed: int
    erased: int
    broken: int
    words: int


class Relative(NamedTuple):
    """Errors against the words already spoken, summed over moments, and the number of those."""

    errors: int
    words: int


def revisions(timeline: Timeline) -> Revisions:
    """Count what a recording's snapshots took back."""
    erased = broken = 0
    pairs: list[tuple[str, str]] = []
    for before, after in pairwise(timeline.snapshots):
        old = timeline.texts(before, before.closed)
        new = timeline.texts(after, before.closed)
        kept = common_prefix(old, new)
        if kept == len(old):
            continue
        erased += len(old) - kept
        broken += max(0, before.stable - before.closed - kept)
        pairs.append((" ".join(old[kept:]), " ".join(new[kept:])))
    rate = word_error_rate([old for old, _ in pairs], [new for _, new in pairs])
    return Revisions(
        changed=rate.substitutions + rate.deletions,
        erased=erased,
        broken=broken,
        words=len(timeline.tokens),
    )


def relative_errors(
    timeline: Timeline, reference: Sequence[Token], chunk: float, duration: float, grace: float
) -> Relative:
    """Compare the running text with what had been said, at the end of every chunk.

    The aligned relative word error rate of Krichli et al. 2025, as we read it (no code of it was
    published): errors of the text at time t against the reference words that end at or before t,
    summed over all chunk ends t, over the sum of the numbers of those words. A recogniser that is
    right but a word late pays for that word at every chunk.

    Args:
        timeline: of one recording.
        reference: its words with times.
        chunk: seconds between moments.
        duration: of the recording; its end is the last moment.
        grace: seconds after a moment at which the text for it is due, for the look-ahead of the
            recogniser and the length of the pieces it was fed in.

    Raises:
        ValueError: a chunk that is not positive.
    """
    if not chunk > 0:
        raise ValueError(f"a chunk of {chunk} s: expected more than 0")
    ends = [token.end for token in reference]
    spoken_at: list[str] = []
    shown_at: list[str] = []
    for moment in _moments(chunk, duration):
        count = sum(end <= moment + 1e-9 for end in ends)
        snapshot = timeline.at(moment + grace + 1e-9)
        spoken_at.append(" ".join(token.text for token in reference[:count]))
        shown_at.append("" if snapshot is None else " ".join(timeline.texts(snapshot)))
    rate = word_error_rate(spoken_at, shown_at)
    return Relative(rate.errors + rate.words_on_empty, rate.num_words)


def _moments(chunk: float, duration: float) -> list[float]:
    whole = int(duration / chunk + 1e-9)
    step = -(-whole // MOST_MOMENTS) if whole else 1
    moments = [number * chunk for number in range(step, whole + 1, step)]
    if not moments or duration - moments[-1] > 1e-6:
        moments.append(duration)
    return moments

"""Lags of single words behind the moment they were spoken, on the audio clock and on the wall's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from echoic.asr.latency.lagging import Lagging, lagging
from echoic.asr.latency.timeline import Snapshot, Timeline
from echoic.asr.latency.tokens import Token

Clock = Callable[[Snapshot], float]


def audio_clock(snapshot: Snapshot) -> float:
    """As if computing took no time (computation-unaware)."""
    return snapshot.audio_time


def wall_clock(snapshot: Snapshot) -> float:
    """With the time that computing takes, and the backlog it leaves (computation-aware)."""
    return snapshot.wall_time


@dataclass(frozen=True, slots=True)
class Delays:
    """How late one recording's words were, in seconds, on one clock.

    Lags are of words that are right, behind the end of the word in the reference.

    Attributes:
        first_word: the first word shown, right or not, behind the begin of the first spoken word;
            None without words or times.
        shown: lags until words were first shown in their place.
        settled: lags until words, with all before them, were there to stay.
        promised: lags until an event declared them stable, or closed them.
        lagging_shown: of all words shown; None where there is nothing to measure.
        lagging_settled: of all words settled.
    """

    first_word: float | None
    shown: tuple[float, ...]
    settled: tuple[float, ...]
    promised: tuple[float, ...]
    lagging_shown: Lagging | None
    lagging_settled: Lagging | None


def measure_delays(
    timeline: Timeline,
    hits: Sequence[tuple[Token, int]],
    clock: Clock,
    *,
    duration: float,
    num_reference: int,
    speech_start: float | None,
) -> Delays:
    """Measure one recording on one clock.

    Args:
        timeline: what was shown.
        hits: reference tokens with times and the place of their equal in the final text.
        clock: `audio_clock` or `wall_clock`.
        duration: of the recording, in seconds.
        num_reference: words of the reference.
        speech_start: begin of the first reference word; None when it is not known.
    """
    times = [clock(snapshot) for snapshot in timeline.snapshots]
    shown = [times[number] for number in timeline.shown()]
    settled = [times[number] for number in timeline.settled()]
    promised = [None if n is None else times[n] for n in timeline.promised()]
    first = timeline.first_words()
    return Delays(
        first_word=None if first is None or speech_start is None else clock(first) - speech_start,
        shown=tuple(shown[place] - token.end for token, place in hits),
        settled=tuple(settled[place] - token.end for token, place in hits),
        promised=tuple(
            time - token.end for token, place in hits if (time := promised[place]) is not None
        ),
        lagging_shown=lagging(_rising(shown), duration, num_reference),
        lagging_settled=lagging(settled, duration, num_reference),
    )


def _rising(times: Sequence[float]) -> list[float]:
    """Words count as out when all words before them are."""
    result: list[float] = []
    for time in times:
        result.append(max(time, result[-1]) if result else time)
    return result

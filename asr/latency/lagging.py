"""Lagging of simultaneous output behind its source: AL, LAAL, DAL and AP.

Checked against SimulEval 1.1.4, whose conventions these are; delays here are in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Lagging:
    """Four ways to say how far behind the output is.

    Attributes:
        al: average lagging, seconds (Ma et al. 2019, STACL, section 4).
        laal: length-adaptive average lagging, seconds (Papi et al. 2022).
        dal: differentiable average lagging, seconds (Cherry & Foster 2019).
        ap: average proportion of the source that had been heard (Cho & Esipova 2016).
    """

    al: float
    laal: float
    dal: float
    ap: float


def lagging(delays: Sequence[float], duration: float, num_reference: int) -> Lagging | None:
    """Measure the output of one recording.

    Args:
        delays: seconds from the recording's begin at which each word was out, in order of the
            words; on the audio clock they end at `duration`, with the time of computing they may
            exceed it.
        duration: of the recording, in seconds.
        num_reference: words of the reference.

    Returns:
        None where there is nothing to measure: no output, no reference or no sound.

    Raises:
        ValueError: delays that fall, as no output in order has them.
    """
    if any(later < earlier for earlier, later in pairwise(delays)):
        raise ValueError("delays fall: words come out in order, so a delay is at least the last")
    if not delays or num_reference < 1 or not duration > 0:
        return None
    return Lagging(
        al=_average(delays, duration, duration / num_reference),
        laal=_average(delays, duration, duration / max(num_reference, len(delays))),
        dal=_differentiable(delays, duration / len(delays)),
        ap=sum(delays) / (duration * num_reference),
    )


def _average(delays: Sequence[float], duration: float, pace: float) -> float:
    """Mean distance from an output that begins at once and keeps the pace (seconds a word).

    Only words up to the first one that had the whole source count: the rest no longer waits.
    """
    if delays[0] > duration:
        return delays[0]
    total, count = 0.0, 0
    for delay in delays:
        total += delay - count * pace
        count += 1
        if delay >= duration:
            break
    return total / count


def _differentiable(delays: Sequence[float], pace: float) -> float:
    """Mean distance where every word takes its time: a burst of words is paid for one by one."""
    total, out = 0.0, delays[0] - pace
    for place, delay in enumerate(delays):
        out = max(delay, out + pace)
        total += out - place * pace
    return total / len(delays)

"""The largest batch of each bucket that fits: into memory, or into a time.

    trial = MemoryTrial(step, budget=6 * 2**30)
    search(buckets, trial).save("sizes.json")

`step(batch_size, seconds, tokens)` is a whole step of training, from random sound of that length
and random text of that many tokens to the optimizer. See `batch_trials` for what may limit it.
"""

import logging
from dataclasses import replace
from typing import Protocol

from echoic.audio.data.buckets import Buckets

log = logging.getLogger(__name__)


class Trial(Protocol):
    """Tells whether a batch fits."""

    def fits(self, batch_size: int, seconds: float, tokens: int) -> bool:
        """Try a batch of utterances that are all so long."""
        ...


def search(
    buckets: Buckets,
    trial: Trial,
    first: int = 32,
    tolerance: float = 0.05,
    most: int = 4096,
) -> Buckets:
    """Return the buckets with the largest batch sizes that fit, see OOMptimizer of NVIDIA's NeMo.

    The largest bucket comes first: what fits there fits everywhere, so a batch size is never below
    that of a longer bucket with more tokens, even where trials are not sure of themselves.

    Args:
        buckets: to find sizes for.
        trial: tells what fits.
        first: batch size to begin with.
        tolerance: a size is found when the next one that does not fit is larger by this share of it
            or less, or by 1.
        most: utterances in a batch, where nothing else limits it.

    Raises:
        ValueError: not even one utterance of a bucket fits.
    """
    if first < 1 or most < 1 or not 0 <= tolerance < 1:
        raise ValueError(
            f"first {first}, most {most}, tolerance {tolerance}: expected 1 or more, 1 or more, "
            "and 0 to below 1"
        )
    found: dict[int, int] = {}
    guess = first
    for index in reversed(range(len(buckets))):
        seconds, tokens = buckets.edges[index]
        above = (found[i] for i in found if buckets.edges[i][1] >= tokens)
        known = max(above, default=0)
        found[index] = _largest(trial, seconds, tokens, known, min(guess, most), tolerance, most)
        log.info("%.2f s, %d tokens: batches of %d", seconds, tokens, found[index])
        guess = 2 * found[index]
    return replace(buckets, batch_sizes=tuple(found[index] for index in range(len(buckets))))


def _largest(
    trial: Trial,
    seconds: float,
    tokens: int,
    known: int,
    guess: int,
    tolerance: float,
    most: int,
) -> int:
    """Return the largest batch size that fits; `known` is known to, 0 for none."""
    fits, fails, size = known, most + 1, guess
    tried_in_vain = False
    while fails - fits > 1 and (
        not tried_in_vain or not fits or (fails - fits) / fails > tolerance
    ):
        size = min(max(size, fits + 1), fails - 1)
        if trial.fits(size, seconds, tokens):
            fits = size
            size = (fits + fails) // 2 if tried_in_vain else 2 * size
        else:
            fails, tried_in_vain = size, True
            size = (fits + fails) // 2 if fits else size // 2
    if not fits:
        raise ValueError(
            f"not even one utterance of {seconds:g} s and {tokens} tokens fits: allow more, or "
            "leave out long utterances"
        )
    return fits

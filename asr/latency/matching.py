"""Which words of a reference were recognised, and where they stand in the text."""

from collections.abc import Sequence
from typing import NamedTuple

from echoic.asr.latency.tokens import Token


class Match(NamedTuple):
    """A reference token and the place of its equal in the recognised text."""

    reference: int
    place: int


def match(reference: Sequence[Token], recognised: Sequence[Token]) -> list[Match]:
    """Align two texts with the fewest edits and return their equal words, in order.

    Raises:
        ImportError: `jiwer` is not installed.
    """
    try:
        import jiwer
    except ImportError as e:
        raise ImportError("jiwer is missing: pip install 'echoic[metrics]'") from e
    if not reference or not recognised:
        return []
    output = jiwer.process_words(
        " ".join(token.text for token in reference), " ".join(token.text for token in recognised)
    )
    return [
        Match(chunk.ref_start_idx + i, chunk.hyp_start_idx + i)
        for chunk in output.alignments[0]
        if chunk.type == "equal"
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]

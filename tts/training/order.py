"""Utterances of a validation, each once, in batches of like lengths."""

from collections.abc import Sequence


def in_order(
    seconds: Sequence[Sequence[float]], *, batch: float, utterances: int, longest: float
) -> list[list[tuple[int, int]]]:
    """Return batches of (corpus, utterance), the longest ones first.

    Args:
        seconds: of the utterances of each corpus.
        batch: seconds of a batch at most, padding included; one utterance may be longer.
        utterances: of a batch at most.
        longest: seconds; longer utterances are left out.
    """
    items = [
        (length, (c, u))
        for c, corpus in enumerate(seconds)
        for u, length in enumerate(corpus)
        if length <= longest
    ]
    groups: list[list[tuple[int, int]]] = []
    room = 0
    for length, item in sorted(items, reverse=True):
        if not groups or len(groups[-1]) >= room:
            room = max(1, min(utterances, int(batch / length)))
            groups.append([])
        groups[-1].append(item)
    return groups

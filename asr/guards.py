"""Signs that a decoding has gone wrong: loops, and more text than anybody can say."""

import zlib
from collections.abc import Sequence

# Fast speech has about 6.5 tokens a second; a window of one word may still take a few.
MAX_TOKENS_PER_SECOND = 12
MIN_TOKEN_BUDGET = 24


def compression_ratio(text: str) -> float:
    """Return how many times smaller zlib makes the text: above 2.4 it repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def token_budget(seconds: float, limit: int) -> int:
    """Return how many tokens a window of so many seconds may take."""
    return min(limit, MIN_TOKEN_BUDGET + int(seconds * MAX_TOKENS_PER_SECOND))


def is_looping(tokens: Sequence[int], *, max_period: int = 12, min_tokens: int = 36) -> bool:
    """Return whether the tail repeats one phrase for at least `min_tokens` tokens.

    A phrase is up to `max_period` tokens long and must have come at least three times over.
    """
    if len(tokens) < min_tokens:
        return False
    tail = tokens[-min_tokens:]
    return any(
        tail[period:] == tail[:-period] for period in range(1, min(max_period, min_tokens // 3) + 1)
    )


def cut_loop(tokens: Sequence[int], *, max_period: int = 12) -> tuple[int, ...]:
    """Return the tokens with a phrase that repeats to the end said only once."""
    for period in range(1, min(max_period, len(tokens) // 3) + 1):
        copies = 1
        while tokens[-period:] == tokens[-(copies + 1) * period : -copies * period]:
            copies += 1
        if copies >= 3:
            return tuple(tokens[: len(tokens) - (copies - 1) * period])
    return tuple(tokens)

"""Lengths of utterances as corpora have them: seconds and tokens, drawn with a seed."""

import numpy as np
from numpy.typing import NDArray

Lengths = tuple[NDArray[np.float64], NDArray[np.int64]]


def read_aloud(count: int = 20_000, seed: int = 0) -> Lengths:
    """Like LibriSpeech: 11.7 s on average, at most 17, one pace of reading."""
    rng = np.random.default_rng(seed)
    seconds = 1.5 + 15.5 * rng.beta(2.15, 1.1, count)
    return seconds, texts_of(seconds, 0.17, rng)


def of_all_kinds(count: int = 20_000, seed: int = 0) -> Lengths:
    """Mixed corpora: log-normal, 7.5 s on average, at most 30, slow and quick speech."""
    rng = np.random.default_rng(seed)
    seconds = np.clip(rng.lognormal(np.log(5.75), 0.75, count), 0.5, 30.0)
    return seconds, texts_of(seconds, 0.35, rng)


def texts_of(
    seconds: NDArray[np.float64], spread: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """About four tokens a second, with so much relative spread."""
    pace = np.clip(rng.normal(1.0, spread, len(seconds)), 0.1, 3.0)
    return np.maximum(1, np.rint(4 * seconds * pace)).astype(np.int64)

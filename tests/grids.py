"""Praat TextGrids as forced aligners write them."""

from collections.abc import Sequence
from pathlib import Path

from praatio import textgrid
from praatio.utilities.constants import Interval


def write_grid(path: Path, words: Sequence[tuple[float, float, str]], name: str = "words") -> Path:
    """Write a tier of words, (start, end, word) in seconds, beside one of phones."""
    end = words[-1][1] + 0.5
    tiers = {"phones": [Interval(0.0, 0.1, "HH")], name: [Interval(*word) for word in words]}
    grid = textgrid.Textgrid()
    for label, entries in tiers.items():
        grid.addTier(textgrid.IntervalTier(label, entries, 0, end))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    return path

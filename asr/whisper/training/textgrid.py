"""Word times that a forced aligner left in a Praat TextGrid, put on the words of a text.

The published alignments of LibriSpeech (Montreal Forced Aligner) are such files: a tier `words` of
intervals in seconds, empty ones where nobody speaks.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_TIERS = ("words", "word", "ort", "orthography")
_SILENT = {"", "sil", "sp", "spn", "<eps>", "<sil>", "<unk>"}


class TimedWord(NamedTuple):
    """A word and its time in seconds."""

    text: str
    start: float
    end: float


def find_textgrids(folder: Path) -> dict[str, Path]:
    """Return the TextGrids under a folder by the name of the recording they belong to.

    Raises:
        ValueError: none there, or two of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.[Tt]ext[Gg]rid")):
        if path.stem in found:
            raise ValueError(
                f"{path} and {found[path.stem]} have one name: which is of the recording?"
            )
        found[path.stem] = path
    if not found:
        raise ValueError(f"{folder}: no TextGrid; expected NAME.TextGrid for each recording NAME")
    return found


def read_textgrid(path: Path) -> list[TimedWord]:
    """Return the words of a TextGrid in order, without its pauses.

    Raises:
        ImportError: praatio is not installed.
        ValueError: no TextGrid, or none with a tier of words.
    """
    tiers = _tiers(path)
    names = {name.lower(): name for name in tiers}
    words = [tiers[names[name]] for name in _TIERS if name in names]
    if not words:
        raise ValueError(
            f"{path}: no tier of words in intervals; it has {', '.join(tiers) or 'none'}"
        )
    return words[0]


def read_tier(path: Path, name: str | None = None) -> list[TimedWord]:
    """Return the intervals of a tier in which somebody speaks, in order.

    Args:
        path: of the TextGrid.
        name: of the tier; None for the only one of intervals.

    Raises:
        ImportError: praatio is not installed.
        ValueError: no TextGrid, no such tier, or several where none is named.
    """
    tiers = _tiers(path)
    if name is None and len(tiers) == 1:
        return next(iter(tiers.values()))
    if name is None or name not in tiers:
        wanted = "name one of its tiers" if name is None else f"no tier {name!r} of intervals"
        raise ValueError(f"{path}: {wanted}; it has {', '.join(tiers) or 'none'}")
    return tiers[name]


def _tiers(path: Path) -> dict[str, list[TimedWord]]:
    """What is said in each tier of intervals."""
    try:
        from praatio import textgrid
        from praatio.utilities.constants import Interval
        from praatio.utilities.errors import PraatioException
    except ImportError as e:
        raise ImportError("reading TextGrids needs praatio: pip install 'echoic[train]'") from e
    try:
        grid = textgrid.openTextgrid(
            str(path), includeEmptyIntervals=False, reportingMode="silence"
        )
    except (PraatioException, OSError, ValueError, IndexError, KeyError) as e:
        reason = " ".join(str(e).split()) or type(e).__name__
        raise ValueError(f"{path}: cannot be read as a TextGrid ({reason[:120]})") from e
    return {
        name: [
            TimedWord(entry.label.strip(), float(entry.start), float(entry.end))
            for entry in tier.entries
            if isinstance(entry, Interval) and entry.label.strip().lower() not in _SILENT
        ]
        for name in grid.tierNames
        if isinstance(tier := grid.getTier(name), textgrid.IntervalTier)
    }


def spans_of(words: Sequence[str], timed: Sequence[TimedWord]) -> list[tuple[float, float]] | None:
    """Give the words of a text the times of an aligner's words.

    Both may cut differently ("twenty-one" and "twenty", "one"): what counts is that they have the
    same letters; inside an aligner's word, letters share its time equally.

    Args:
        words: of a text, in order; marks and spaces do not matter.
        timed: the aligner's words.

    Returns:
        Begin and end of each word in seconds, those of mere marks at the end of the word before;
        None if the letters are not the same.
    """
    letters = [_letters(word) for word in words]
    starts: list[float] = []
    ends: list[float] = []
    heard = ""
    for word in timed:
        own = _letters(word.text)
        share = (word.end - word.start) / max(1, len(own))
        starts += [word.start + i * share for i in range(len(own))]
        ends += [word.start + (i + 1) * share for i in range(len(own))]
        heard += own
    if heard != "".join(letters):
        return None
    spans, at, last = [], 0, 0.0
    for own in letters:
        if own:
            spans.append((starts[at], ends[at + len(own) - 1]))
            at, last = at + len(own), spans[-1][1]
        else:
            spans.append((last, last))
    return spans


def _letters(text: str) -> str:
    return re.sub(r"[^\w]|_", "", text.lower())

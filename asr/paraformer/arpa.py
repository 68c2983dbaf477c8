"""N-grams of ARPA files, which KenLM, SRILM and others write; their words are a model's tokens.

The end of a sentence has no place in a Paraformer's choice, so n-grams with it are left out, as are
those with words that are no tokens. A token that the file has not is as likely as its unknown word,
and nothing is known of what follows it.
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

import numpy as np

from echoic.asr.paraformer.ngrams import Level, Ngrams
from echoic.asr.paraformer.tokenizer import SPECIAL, UNKNOWN

_START = "<s>"
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")
_LOG_10 = math.log(10)


class Arpa(NamedTuple):
    """What was read of a file.

    Attributes:
        ngrams: in the vocabulary.
        known: how many of its tokens the file has.
    """

    ngrams: Ngrams
    known: int


class _Entries(NamedTuple):
    """N-grams of one length: keys as in `Level`, scores and backoffs as decimal logarithms."""

    keys: list[int]
    scores: list[float]
    backoffs: list[float]


def is_arpa(name: str) -> bool:
    """Tell ARPA files by their names: `.arpa`, and `.arpa.gz` for packed ones."""
    return name.endswith((".arpa", ".arpa.gz"))


def read_arpa(path: Path, ids: Mapping[str, int], order: int | None = None) -> Arpa:
    """Read a file.

    Args:
        path: of the file; gzip's where its name ends in `.gz`.
        ids: of the vocabulary's tokens, from 0 on.
        order: most tokens of an n-gram, the longer ones being left out; None for all.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: no ARPA file, damaged or cut short, n-grams that are too long for the
            vocabulary, or another vocabulary; says which.
    """
    if order is not None and order < 1:
        raise ValueError(f"order is {order}; it must be 1 or more")
    try:
        with _open(path) as file:
            return _read(_Lines(path, file), ids, order)
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is damaged or no ARPA file: {e}") from e


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return path.open(encoding="utf-8", newline="\n")


class _Lines:
    """The lines of a file that are not empty, and where they are."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self.path, self.number = path, 0
        self._lines = iter(lines)

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if text := line.strip("\r\n\t "):
                yield text
        self.fail("the file ends before \\end\\: it was cut short")

    def fail(self, why: str) -> NoReturn:
        raise ValueError(f"{self.path}, line {self.number}: {why}")


def _read(lines: _Lines, ids: Mapping[str, int], order: int | None) -> Arpa:
    size = len(ids)
    numbers = {word: i for word, i in ids.items() if word not in SPECIAL} | {_START: size}
    head = _head(lines)
    wanted = len(head) if order is None else min(order, len(head))
    if (size + 1) ** wanted >= 2**63:
        fits = next(n for n in range(wanted, 0, -1) if (size + 1) ** n < 2**63)
        raise ValueError(
            f"{lines.path} has n-grams of {wanted}, too many for {size} tokens: read them up to "
            f"--order {fits}"
        )
    levels: list[Level] = []
    known = 0
    for n, count in enumerate(head, start=1):
        entries = _section(lines, n, count, numbers, size + 1)
        if n > wanted:
            continue
        if len(set(entries.keys)) < len(entries.keys):
            lines.fail(f"an n-gram of {n} words is there twice")
        if n == 1:
            known = sum(key != size for key in entries.keys)
            if 2 * known < size:
                example = next(token for token in ids if token not in SPECIAL)
                raise ValueError(
                    f"{lines.path} has {known} of the model's {size} tokens: its words must be "
                    f"these tokens, such as {example!r}"
                )
            levels.append(_first(entries, size, ids.get(UNKNOWN)))
        else:
            levels.append(_longer(lines, n, entries, levels[-1], size + 1))
    if (last := next(iter(lines))) != "\\end\\":
        lines.fail(f"expected \\end\\, found {last!r}")
    # Where the longest are left out, nothing is behind these.
    levels[-1] = levels[-1]._replace(backoffs=np.zeros_like(levels[-1].backoffs))
    return Arpa(Ngrams(size, levels), known)


def _head(lines: _Lines) -> list[int]:
    """Return how many n-grams of 1, 2, ... words there are; the first section's title is read."""
    rows = iter(lines)
    for line in rows:
        if line == "\\data\\":
            break
    counts: list[int] = []
    for line in rows:
        if found := _COUNT.fullmatch(line):
            if int(found[1]) != len(counts) + 1:
                break
            counts.append(int(found[2]))
        elif line == "\\1-grams:" and counts:
            return counts
        else:
            break
    lines.fail("no ARPA file: expected lines such as 'ngram 1=1000' and \\1-grams: behind \\data\\")


def _section(lines: _Lines, n: int, count: int, numbers: Mapping[str, int], base: int) -> _Entries:
    """Read the n-grams of one length whose words are all known."""
    rows = iter(lines)
    if n > 1 and ((title := _SECTION.fullmatch(next(rows))) is None or int(title[1]) != n):
        lines.fail(f"expected \\{n}-grams:, behind as many n-grams as the head tells")
    entries = _Entries([], [], [])
    for _ in range(count):
        score, *words = next(rows).replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if not n <= len(words) <= n + 1:
            lines.fail(f"expected a number, {n} words and perhaps a number")
        backoff = words.pop() if len(words) > n else "0"
        values = _number(lines, score), _number(lines, backoff)
        tokens = [numbers.get(word, -1) for word in words]
        # A start within an n-gram can never be said.
        if min(tokens) < 0 or base - 1 in tokens[1:]:
            continue
        key = 0
        for token in tokens:
            key = key * base + token
        entries.keys.append(key)
        entries.scores.append(values[0])
        entries.backoffs.append(values[1])
    return entries


def _number(lines: _Lines, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        lines.fail(f"expected a finite number, found {text!r}")
    return value


def _first(entries: _Entries, size: int, unknown: int | None) -> Level:
    """Return the unigrams: a token that the file has not is as likely as its unknown word."""
    given = dict(zip(entries.keys, entries.scores, strict=True))
    behind = dict(zip(entries.keys, entries.backoffs, strict=True))
    rare = given.get(-1 if unknown is None else unknown, min(given.values()))
    keys = range(size + 1)
    scores = [given.get(key, rare) for key in keys]
    return _level(list(keys), scores, [behind.get(key, 0.0) for key in keys])


def _longer(lines: _Lines, n: int, entries: _Entries, shorter: Level, base: int) -> Level:
    level = _level(*entries)
    if not np.isin(level.keys // base, shorter.keys).all():
        lines.fail(f"an n-gram of {n} words goes on from one that is not there")
    return level


def _level(keys: list[int], scores: list[float], backoffs: list[float]) -> Level:
    every = np.array(keys, np.int64)
    rising = np.argsort(every)
    numbers = (np.array(values, np.float64)[rising] * _LOG_10 for values in (scores, backoffs))
    return Level(every[rising], *(values.astype(np.float32) for values in numbers))

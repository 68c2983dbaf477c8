"""Subtitles read: the cues of SubRip (.srt) and WebVTT (.vtt) with their times."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from echoic.recipes.prepare.corpus import text_of

_TIME = r"(?:(\d+):)?(\d\d?):(\d\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
# Marks of style, and the times of single words in WebVTT; "{\an8}" puts a cue to the top.
_MARKS = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_NO_CUE = ("WEBVTT", "NOTE", "STYLE", "REGION")


class Cue(NamedTuple):
    """A text and its time in seconds."""

    text: str
    start: float
    end: float


def read_cues(path: Path) -> list[Cue]:
    """Return the cues of a file in which something is said, in its order, without marks of style.

    Raises:
        ValueError: a part of it is no cue; names the line.
        OSError: it cannot be read.
    """
    web = path.suffix.lower() == ".vtt"
    cues = []
    for number, lines in _blocks(text_of(path)):
        if web and lines[0].startswith(_NO_CUE):
            continue
        at = next((i for i, line in enumerate(lines[:2]) if _TIMES.match(line)), None)
        if at is None:
            wanted = "expected 00:00:01,000 --> 00:00:02,000; mend or drop the cue"
            raise ValueError(f"{path}, line {number}: {wanted}")
        again = next((i for i, line in enumerate(lines) if i > at and _TIMES.match(line)), None)
        if again is not None:
            raise ValueError(f"{path}, line {number + again}: put a blank line before each cue")
        found = _TIMES.match(lines[at])
        assert found is not None
        start, end = _seconds(*found.groups()[:4]), _seconds(*found.groups()[4:])
        if end <= start:
            raise ValueError(f"{path}, line {number + at}: it ends before it begins; mend it")
        text = _MARKS.sub("", " ".join(lines[at + 1 :]))
        text = " ".join((html.unescape(text) if web else text).split())
        if text:
            cues.append(Cue(text, start, end))
    return cues


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield lines that no blank one parts, with the number of the first."""
    lines: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip():
            lines.append(line)
        elif lines:
            yield number - len(lines), lines
            lines = []


def _seconds(hours: str | None, minutes: str, seconds: str, rest: str) -> float:
    whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return whole + int(rest.ljust(3, "0")) / 1000

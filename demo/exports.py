"""Captions as files: text, subtitles and JSON. What is not final yet is left out."""

import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from echoic.asr.batch.subtitles import Layout, srt, vtt
from echoic.asr.transcript import Segment, Transcript, Word
from echoic.demo.transcript import Captions, Line

# What broadcasters take: so many characters in a row, and rows in a subtitle.
_WIDTH, _ROWS = 42, 2
_LAYOUT = Layout(max_line_width=_WIDTH)


def export(captions: Captions, kind: str) -> str:
    """Return the contents of a file of captions.

    Args:
        captions: a live transcription.
        kind: "txt", "srt", "vtt" or "json".

    Raises:
        ValueError: for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    return _WRITERS[kind](captions.lines)


def _txt(lines: tuple[Line, ...]) -> str:
    return "".join(f"{line.text}\n" for line in lines)


def _srt(lines: tuple[Line, ...]) -> str:
    return srt(_transcript(lines), _LAYOUT)


def _vtt(lines: tuple[Line, ...]) -> str:
    return vtt(_transcript(lines), _LAYOUT)


def _json(lines: tuple[Line, ...]) -> str:
    rows = [_row(line) for line in lines]
    page = {"text": "\n".join(line.text for line in lines), "lines": rows}
    return json.dumps(page, ensure_ascii=False, indent=2) + "\n"


def _row(line: Line) -> dict[str, Any]:
    return {
        "start": round(line.start, 3),
        "end": round(line.end, 3),
        "text": line.text,
        "words": [piece.word.to_dict() for piece in line.pieces],
    }


def _transcript(lines: tuple[Line, ...]) -> Transcript:
    """Return the lines in segments that fit into a subtitle: none crosses the end of a line."""
    cues = [cue for line in lines for cue in _cut(line)]
    segments = tuple(_segment(i, cue) for i, cue in enumerate(cues))
    return Transcript("", 0.0, lines[-1].end if lines else 0.0, segments)


def _cut(line: Line) -> Iterator[Line]:
    cue = Line()
    for piece in line.pieces:
        longer = Line((*cue.pieces, piece))
        if cue.pieces and len(textwrap.wrap(longer.text, _WIDTH)) > _ROWS:
            yield cue
            longer = Line((piece,))
        cue = longer
    if cue.pieces:
        yield cue


def _segment(index: int, cue: Line) -> Segment:
    words = tuple(
        Word(p.word.start, p.word.end, p.gap + p.word.text, p.word.confidence) for p in cue.pieces
    )
    return Segment(index, cue.start, cue.end, cue.text, (), 0.0, 0.0, 0.0, 0.0, words)


_WRITERS: dict[str, Callable[[tuple[Line, ...]], str]] = {
    "txt": _txt,
    "srt": _srt,
    "vtt": _vtt,
    "json": _json,
}
KINDS = tuple(_WRITERS)

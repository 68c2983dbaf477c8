"""Subtitles: transcripts cut into cues, as openai-whisper's SRT and WebVTT writers do.

Without word times a cue is a segment. With them words flow into lines of `max_line_width`
characters; with a width and a count, cues of `max_line_count` lines run across segments and break
where a word begins more than three seconds after the last; otherwise a cue never crosses a segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from echoic.asr.transcript import Segment, Transcript, Word

LONG_PAUSE = 3.0  # seconds from one word's start to the next's
UNLIMITED = 1000  # characters; openai-whisper's own stand-in for "no limit"


@dataclass(frozen=True, slots=True)
class Layout:
    """How cues are cut and marked; every choice but the default needs word times.

    Attributes:
        max_line_width: characters in a line, or None for no limit.
        max_line_count: lines in a cue, or None for no limit.
        highlight_words: show each word underlined while it is spoken.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    highlight_words: bool = False

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more, or None for no limit")

    @property
    def needs_words(self) -> bool:
        """Whether this layout has an effect only with word times."""
        return self != Layout()

    @property
    def keeps_segments(self) -> bool:
        """Whether a cue ends with its segment."""
        return self.max_line_width is None or self.max_line_count is None


class Cue(NamedTuple):
    """A subtitle with its times as they are written."""

    start: str
    end: str
    text: str


@dataclass(slots=True)
class _Piece:
    """A word in its cue: `text` begins with the space or line break that parts it from the last."""

    start: float
    end: float
    text: str


def srt(transcript: Transcript, layout: Layout) -> str:
    """Return SubRip: cues numbered from 1, `HH:MM:SS,mmm`."""
    cues = _cues(transcript, layout, always_hours=True, point=",")
    return "".join(f"{i}\n{c.start} --> {c.end}\n{c.text}\n\n" for i, c in enumerate(cues, 1))


def vtt(transcript: Transcript, layout: Layout) -> str:
    """Return WebVTT: a header, then cues with `MM:SS.mmm` and hours where there are any."""
    cues = _cues(transcript, layout, always_hours=False, point=".")
    return "WEBVTT\n\n" + "".join(f"{c.start} --> {c.end}\n{c.text}\n\n" for c in cues)


def format_time(seconds: float, *, always_hours: bool, point: str) -> str:
    """Return `[HH:]MM:SS.mmm`, rounded to milliseconds; times before 0 are shown as 0."""
    milliseconds = max(0, round(1000 * seconds))
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    front = f"{hours:02d}:" if hours or always_hours else ""
    return f"{front}{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _cues(
    transcript: Transcript, layout: Layout, *, always_hours: bool, point: str
) -> Iterator[Cue]:
    def clock(seconds: float) -> str:
        return format_time(seconds, always_hours=always_hours, point=point)

    if not any(segment.words for segment in transcript.segments):
        for segment in transcript.segments:
            yield Cue(clock(segment.start), clock(segment.end), one_line(segment.text))
        return
    for pieces in _flow(transcript, layout):
        if layout.highlight_words:
            times = [(clock(piece.start), clock(piece.end)) for piece in pieces]
            yield from _highlighted([piece.text for piece in pieces], times)
        else:
            text = "".join(piece.text for piece in pieces)
            yield Cue(clock(pieces[0].start), clock(pieces[-1].end), text)


def one_line(text: str) -> str:
    """Return text that cannot break a cue: stripped, in one line, its `-->` made harmless."""
    return " ".join(text.strip().splitlines()).replace("-->", "->")


def _flow(transcript: Transcript, layout: Layout) -> Iterator[list[_Piece]]:
    """Yield the words of each cue; a new line shows as a line break in front of its first word."""
    width = layout.max_line_width or UNLIMITED
    cue: list[_Piece] = []
    used, lines, last = 0, 1, None
    for segment in transcript.segments:
        for index, word in enumerate(_words(segment)):
            new_segment = index == 0 and layout.keeps_segments and bool(cue)
            pause = 0.0 if last is None or layout.keeps_segments else word.start - last
            last = word.start
            text = word.word.replace("-->", "->")
            fits = used + len(text) <= width and pause <= LONG_PAUSE
            if used > 0 and fits and not new_segment:
                cue.append(_Piece(word.start, word.end, text))
                used += len(text)
                continue
            text = text.strip()
            full = layout.max_line_count is not None and lines >= layout.max_line_count
            if cue and (new_segment or full or pause > LONG_PAUSE):
                yield cue
                cue, lines = [], 1
            elif used > 0:
                lines += 1
                text = "\n" + text
            cue.append(_Piece(word.start, word.end, text))
            used = len(text.strip())
    if cue:
        yield cue


def _words(segment: Segment) -> tuple[Word, ...]:
    if segment.words or not segment.text.strip():
        return segment.words or ()
    # A segment whose words could not be timed is still shown, as if it were one word.
    return (Word(segment.start, segment.end, f" {one_line(segment.text)}", 0.0),)


def _highlighted(texts: list[str], times: list[tuple[str, str]]) -> Iterator[Cue]:
    last = times[0][0]
    for i, (start, end) in enumerate(times):
        if start != last:  # the pause between two words shows the cue without a mark
            yield Cue(last, start, "".join(texts))
        yield Cue(start, end, "".join([*texts[:i], _underlined(texts[i]), *texts[i + 1 :]]))
        last = end


def _underlined(text: str) -> str:
    word = text.lstrip()
    return f"{text[: len(text) - len(word)]}<u>{word}</u>"

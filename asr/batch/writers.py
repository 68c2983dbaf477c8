"""Transcripts as text: the five formats of openai-whisper, and JSON lines for batches."""

import json
import math
from collections.abc import Callable
from typing import Any

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.subtitles import Layout, srt, vtt
from echoic.asr.source import Source
from echoic.asr.transcript import Segment, Transcript, Word


def txt(transcript: Transcript, _layout: Layout) -> str:
    """Return one segment a line."""
    return "".join(f"{_plain(segment.text)}\n" for segment in transcript.segments)


def tsv(transcript: Transcript, _layout: Layout) -> str:
    """Return `start end text` with times in whole milliseconds; tabs in the text become spaces."""
    rows = (
        f"{round(1000 * s.start)}\t{round(1000 * s.end)}\t" + _plain(s.text).replace("\t", " ")
        for s in transcript.segments
    )
    return "start\tend\ttext\n" + "".join(f"{row}\n" for row in rows)


def as_json(transcript: Transcript, _layout: Layout) -> str:
    """Return openai-whisper's result object (and `duration`) in one line."""
    return dumps(as_dict(transcript, tokens=True)) + "\n"


WRITERS: dict[str, Callable[[Transcript, Layout], str]] = {
    "txt": txt,
    "srt": srt,
    "vtt": vtt,
    "tsv": tsv,
    "json": as_json,
}
FORMATS = tuple(WRITERS)


def parse_formats(text: str) -> tuple[str, ...]:
    """Read "srt,txt" or "all".

    Raises:
        UsageError: for a format that does not exist.
    """
    names = [name.strip().lower().removeprefix(".") for name in text.split(",") if name.strip()]
    for name in names:
        if name not in (*FORMATS, "all"):
            raise UsageError(f"format {name!r} is unknown; choose from {', '.join(FORMATS)}, all")
    if not names:
        raise UsageError(f"no format is named; choose from {', '.join(FORMATS)}, all")
    return tuple(f for f in FORMATS if "all" in names or f in names)


def render(transcript: Transcript, format: str, layout: Layout) -> str:  # noqa: A002
    """Return the transcript in one of `FORMATS`; lines end in a line feed on every system."""
    return WRITERS[format](transcript, layout)


def as_dict(transcript: Transcript, *, tokens: bool) -> dict[str, Any]:
    """Return the transcript as plain values; seconds have three digits.

    Args:
        transcript: what was recognised.
        tokens: whether segments carry their token ids.
    """
    return {
        "text": transcript.text,
        "segments": [_segment(segment, tokens=tokens) for segment in transcript.segments],
        "language": transcript.language,
        "language_probability": round(transcript.language_probability, 4),
        "duration": round(transcript.duration, 3),
    }


def json_line(source: Source, transcript: Transcript) -> str:
    """Return the line of one file for `--json`, without its line end."""
    return dumps(_label(source) | as_dict(transcript, tokens=False))


def json_error(source: Source, message: str) -> str:
    """Return the line of a file that failed, without its line end."""
    return dumps(_label(source) | {"error": message})


def dumps(value: object) -> str:
    """Return JSON in one line of UTF-8; names that are not UTF-8 are escaped instead."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _label(source: Source) -> dict[str, Any]:
    label: dict[str, Any] = {"audio": source.path}
    if "id" in source.fields:
        label["id"] = source.fields["id"]
    if source.offset:
        label["offset"] = source.offset
    if source.fields:
        label["manifest"] = dict(source.fields)
    return label


def _segment(segment: Segment, *, tokens: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": segment.id,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "temperature": segment.temperature,
        "avg_logprob": _finite(segment.avg_logprob),
        "compression_ratio": _finite(segment.compression_ratio),
        "no_speech_prob": _finite(segment.no_speech_prob),
    }
    if tokens:
        fields["tokens"] = list(segment.tokens)
    if segment.words is not None:
        fields["words"] = [_word(word) for word in segment.words]
    return fields


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.word,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "probability": _finite(word.probability),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no word for infinity


def _plain(text: str) -> str:
    return " ".join(text.strip().splitlines())

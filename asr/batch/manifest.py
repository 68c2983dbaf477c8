"""Manifests and lists: inputs that are named in a file.

A manifest has one JSON object a line: `audio` (or NeMo's `audio_filepath`), and optionally `id`,
`offset` and `duration` in seconds, and anything else. Relative paths start at the manifest's own
folder. With `offset` the entry is a stretch of the recording; a `duration` without `offset` only
describes the recording, as most data sets mean it, and cuts nothing off.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from echoic.asr.batch.errors import UsageError, printable

SUFFIXES = (".jsonl", ".ndjson", ".json")
PATH_KEYS = ("audio", "audio_filepath")
LONGEST = 366 * 24 * 3600  # seconds; what lies beyond is a mistake


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest; `fields` is all of the line but its path.

    Attributes:
        path: the recording, absolute or relative to the working directory.
        id: the entry's name, safe as a relative path, or None.
        offset: seconds from the beginning.
        duration: seconds to read; None for the rest.
        fields: every field but the path.
        where: "manifest.jsonl, line 7", for messages.
    """

    path: str
    id: str | None
    offset: float
    duration: float | None
    fields: dict[str, Any]
    where: str


def read_manifest(path: str) -> Iterator[Entry]:
    """Yield the entries of a manifest, line by line.

    Raises:
        UsageError: at the first line that is no entry, with the line's number.
        OSError: where the file cannot be read.
    """
    folder = os.path.dirname(path)
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _entry(line, folder, f"{path}, line {number}")


def read_list(data: bytes) -> list[str]:
    """Return the paths of a list: one a line, or separated by NUL as by `find -print0`."""
    separator = b"\0" if b"\0" in data else b"\n"
    names = (name.removesuffix(b"\r") for name in data.split(separator))
    return [os.fsdecode(name) for name in names if name.strip()]


def _entry(line: bytes, folder: str, where: str) -> Entry:
    fields = _object(line, where)
    key = next((k for k in PATH_KEYS if k in fields), None)
    if key is None:
        raise UsageError(
            f"{printable(where)}: no 'audio' (nor 'audio_filepath') among its fields "
            f"{sorted(fields)}; name the recording's path there"
        )
    audio = fields.pop(key)
    if not isinstance(audio, str) or not audio or not _can_name_a_file(audio):
        raise UsageError(f"{printable(where)}: {key!r} is {audio!r}; it must be a path")
    offset = _seconds(fields, "offset", where)
    duration = _seconds(fields, "duration", where) if offset is not None else None
    if duration == 0:
        raise UsageError(f"{printable(where)}: duration is 0; leave it out to read to the end")
    return Entry(
        path=os.path.join(folder, audio),
        id=_identifier(fields.get("id"), where),
        offset=offset or 0.0,
        duration=duration,
        fields=fields,
        where=where,
    )


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite_float)
    except UnicodeDecodeError as e:
        raise UsageError(f"{printable(where)}: not UTF-8 (byte {e.start}); convert the file") from e
    except json.JSONDecodeError as e:
        raise UsageError(
            f"{printable(where)}: not JSON ({e.msg} at column {e.colno}); "
            "a manifest has one object a line"
        ) from e
    except (ValueError, RecursionError) as e:
        reason = "brackets in brackets without end" if isinstance(e, RecursionError) else str(e)
        raise UsageError(f"{printable(where)}: not JSON ({reason}); mend or drop the line") from e
    if not isinstance(value, dict):
        raise UsageError(
            f"{printable(where)}: a {type(value).__name__}, not an object; "
            'write {"audio": "a.wav"}, one a line'
        )
    return value


def _seconds(fields: dict[str, Any], key: str, where: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= LONGEST:
        raise UsageError(
            f"{printable(where)}: {key!r} is {value!r}; it must be seconds, from 0 to a year"
        )
    return float(value)


def _identifier(value: object, where: str) -> str | None:
    if value is None:
        return None
    text = str(value)
    parts = text.replace("\\", "/").split("/")
    unsafe = (
        not _can_name_a_file(text)
        or {"", ".", ".."} & set(parts)
        or (os.name == "nt" and ":" in text)
    )
    if isinstance(value, str | int) and not unsafe:
        return text
    raise UsageError(
        f"{printable(where)}: id {value!r} cannot name an output file; "
        "use a relative path without empty, '.' or '..' parts"
    )


def _can_name_a_file(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value

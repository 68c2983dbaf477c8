"""Manifests and lists: inputs that are named in a file.

A manifest has one JSON object a line: `audio` (or NeMo's `audio_filepath`), and optionally `id`,
`offset` and `duration` in seconds, and anything else; gzip may have compressed it. Relative paths
start at the manifest's own folder. With `offset` the entry is a stretch of the recording; a
`duration` without `offset` only describes the recording and cuts nothing off.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoic.asr.batch.errors import UsageError, printable
from echoic.audio.data.line import PATH_KEYS, audio_of, can_name_a_file, parse_line, stretch_of
from echoic.audio.data.manifest import lines_of
from echoic.audio.data.problems import LineError


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
    for number, line in lines_of(Path(path)):
        where = f"{path}, line {number}"
        try:
            yield _entry(line, folder, where)
        except LineError as e:
            raise UsageError(f"{printable(where)}: {e}") from e


def read_list(data: bytes) -> list[str]:
    """Return the paths of a list: one a line, or separated by NUL as by `find -print0`."""
    separator = b"\0" if b"\0" in data else b"\n"
    names = (name.removesuffix(b"\r") for name in data.split(separator))
    return [os.fsdecode(name) for name in names if name.strip()]


def _entry(line: bytes, folder: str, where: str) -> Entry:
    fields = parse_line(line)
    audio = audio_of(fields)
    offset, duration = stretch_of(fields)
    fields.pop(next(key for key in PATH_KEYS if key in fields))
    return Entry(
        path=os.path.join(folder, audio),
        id=_identifier(fields.get("id")),
        offset=offset or 0.0,
        duration=None if offset is None else duration,
        fields=fields,
        where=where,
    )


def _identifier(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    parts = text.replace("\\", "/").split("/")
    unsafe = (
        not can_name_a_file(text)
        or {"", ".", ".."} & set(parts)
        or (os.name == "nt" and ":" in text)
    )
    if isinstance(value, str | int) and not unsafe:
        return text
    raise LineError(
        f"id {value!r} cannot name an output file",
        "use a relative path without empty, '.' or '..' parts",
    )

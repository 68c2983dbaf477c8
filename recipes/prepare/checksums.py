"""SHA-256 of recordings: written beside each row, and looked at again later."""

import hashlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from echoic.audio.data.manifest import Row, Source, rows_of
from echoic.audio.errors import one_line


class Verified(NamedTuple):
    """A recording that was looked at again.

    Attributes:
        rows: how many rows are of it.
        wrong: what is wrong with it, with the mend; "" for nothing.
    """

    rows: int
    wrong: str


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits, reading it in pieces.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recordings_of(manifest: Path) -> Iterator[list[Row]]:
    """Yield the rows of each recording together, where these follow each other.

    Raises:
        ManifestError, OSError: see `rows_of`.
    """
    for _, rows in groupby(rows_of(Source(str(manifest))), lambda row: row.audio):
        yield list(rows)


def verify(rows: list[Row]) -> Verified:
    """Compare a recording with the checksum that its rows have."""
    audio = rows[0].audio
    shown = one_line(str(audio))
    told = {str(row.values.get("sha256", "")) for row in rows}
    if "" in told:
        return Verified(len(rows), f"{shown}: no sha256 in line {rows[0].number}; use --checksums")
    try:
        found = sha256_of(audio)
    except OSError as e:
        return Verified(len(rows), f"{shown}: {e.strerror or e}; copy it again")
    if told != {found}:
        wrong = f"{shown}: its sha256 is {found[:16]}..., not that of the manifest; copy it again"
        return Verified(len(rows), wrong)
    return Verified(len(rows), "")

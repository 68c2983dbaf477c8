"""Manifests: JSON Lines, one recording a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self


@dataclass(frozen=True, slots=True)
class Source:
    """Where recordings are, and how much of the training they are.

    Attributes:
        path: a manifest (JSON Lines; `audio` is a path relative to it, `duration` in seconds saves
            opening the file), or a folder, which is searched for sound files.
        share: of the training sounds, in proportion to the shares of the other sources.
        split: only rows of the manifest whose `split` is this; None for all.
        lang: only rows whose `lang` is this; None for all.
    """

    path: str
    share: float = 1.0
    split: str | None = None
    lang: str | None = None

    def __post_init__(self) -> None:
        if self.share <= 0:
            raise ValueError(f"share of {self.path} is {self.share}, expected more than 0")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "PATH", or "PATH,split=train,lang=en" with either or both.

        Raises:
            ValueError: anything else behind a comma.
        """
        path, *parts = text.split(",")
        given = {name: value for name, _, value in (part.partition("=") for part in parts)}
        if not path or not set(given) <= {"split", "lang"} or not all(given.values()):
            raise ValueError(f"{text!r} is not PATH[,split=NAME][,lang=NAME]")
        return cls(path, split=given.get("split"), lang=given.get("lang"))

    @property
    def conditions(self) -> dict[str, str]:
        """Fields of a row and what they must be."""
        wanted = {"split": self.split, "lang": self.lang}
        return {name: value for name, value in wanted.items() if value is not None}


class Row(NamedTuple):
    """A line of a manifest.

    Attributes:
        number: of the line, from 1.
        audio: path of the recording.
        values: all fields.
    """

    number: int
    audio: Path
    values: dict[str, Any]


def rows_of(source: Source) -> Iterator[Row]:
    """Yield the rows of a manifest that meet the source's conditions.

    Raises:
        ValueError: a line is no JSON object with a path in `audio`; names file and line.
        OSError: the manifest cannot be read.
    """
    path, conditions = Path(source.path), source.conditions
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            audio = path.parent / values["audio"]
        except (ValueError, KeyError, TypeError) as e:
            raise ValueError(
                f"{path}, line {number}: expected a JSON object with a path in `audio`"
            ) from e
        if all(values.get(name) == value for name, value in conditions.items()):
            yield Row(number, audio, values)

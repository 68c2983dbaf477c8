"""Make the manifest of AISHELL-1 (`data_aishell`, unpacked, the speakers' archives too).

    echoic prepare aishell data_aishell OUT.jsonl [--part train]
    python -m echoic.recipes.prepare.aishell data_aishell train OUT.jsonl

Texts are without the spaces between their words. Some recordings have no transcript; they are
passed over.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoic.recipes.prepare.command import (
    Checksums,
    Folder,
    Mode,
    Out,
    Overwrite,
    Verify,
    make,
    run,
)

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found


class Part(StrEnum):
    """A part of the data set."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command()(aishell)


def aishell(
    source: Folder,
    out: Out,
    part: Annotated[
        list[Part] | None, typer.Option(help="Only this part, or these, given several times.")
    ] = None,
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """AISHELL-1, the folder data_aishell with its archives unpacked."""
    run(lambda: utterances(source, part or tuple(Part)), out, Mode(checksums, verify, overwrite))


def utterances(folder: Path, parts: Sequence[Part]) -> "Iterator[Found]":
    """Find the utterances of some parts.

    Raises:
        ValueError: no transcripts, or no recordings of a part.
        OSError: the transcripts cannot be read.
    """
    from echoic.recipes.prepare.corpus import Untold, Utterance, find

    folder = folder.resolve()
    texts = transcripts(folder)
    for part in parts:
        recordings = find(folder / "wav" / part, "*.wav")
        if not recordings:
            raise ValueError(
                f"{folder}: no recordings in wav/{part}; unpack the speakers' archives"
            )
        for audio in recordings:
            text = texts.get(audio.stem)
            if text is None:
                yield Untold(audio)
            else:
                yield Utterance(audio.stem, audio, text, "zh", audio.parent.name, part.value)


def transcripts(folder: Path) -> dict[str, str]:
    """Return the texts, without the spaces between their words, by the names of the recordings.

    Raises:
        ValueError: no transcripts there, or a line that is none.
        OSError: they cannot be read.
    """
    from echoic.recipes.prepare.corpus import find, text_of

    files = find(folder / "transcript", "*.txt")
    if not files:
        raise ValueError(f"{folder} has no transcript/*.txt; expected the folder data_aishell")
    found: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(text_of(path).splitlines(), start=1):
            name, *words = line.split()
            if not words:
                raise ValueError(f"{path}, line {number}: expected NAME TEXT; mend the line")
            found[name] = "".join(words)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="aishell", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=[part.value for part in Part])
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    parts = (Part(given.part),)
    return make(lambda: utterances(given.folder, parts), given.out, name="aishell")


if __name__ == "__main__":
    sys.exit(main())

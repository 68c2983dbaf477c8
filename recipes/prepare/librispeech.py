"""Make a manifest of LibriSpeech, or of any folder in its form (LibriTTS has another).

    echoic prepare librispeech LibriSpeech/train-clean-100 OUT.jsonl
    python -m echoic.recipes.prepare.librispeech LibriSpeech/train-clean-100 OUT.jsonl

`split` is the subset's name. Texts are in capitals without marks, as published.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from echoic.recipes.prepare.command import (
    Checksums,
    DownloadSubset,
    Folder,
    Mode,
    Out,
    Overwrite,
    Verify,
    make,
    run,
)
from echoic.recipes.prepare.download import librispeech_at

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command()(librispeech)


def librispeech(
    source: Folder,
    out: Out,
    download: DownloadSubset = None,
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """LibriSpeech: a subset, or the folder of several."""
    run(
        lambda: utterances(librispeech_at(source, download)),
        out,
        Mode(checksums, verify, overwrite),
    )


def utterances(folder: Path) -> "Iterator[Found]":
    """Find the utterances of a folder.

    Raises:
        ValueError: no transcripts there.
    """
    from echoic.recipes.prepare.corpus import Bad, Utterance, find, text_of

    transcripts = find(folder.resolve(), "*.trans.txt")
    if not transcripts:
        raise ValueError(
            f"{folder}: no *.trans.txt; expected a LibriSpeech subset such as train-clean-100"
        )
    for path in transcripts:
        split = path.parents[2].name  # SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt
        try:
            lines = text_of(path).splitlines()
        except (OSError, ValueError) as e:
            yield Bad(str(e))
            continue
        for number, line in enumerate(lines, start=1):
            name, _, text = line.partition(" ")
            if not text.strip() or name.count("-") != 2:
                wanted = "expected SPEAKER-CHAPTER-NUMBER TEXT; mend or drop the line"
                yield Bad(f"{path}, line {number}: {wanted}")
                continue
            audio = path.parent / f"{name}.flac"
            yield Utterance(name, audio, text, "en", name.split("-")[0], split)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="librispeech", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    return make(lambda: utterances(given.folder), given.out, name="librispeech")


if __name__ == "__main__":
    sys.exit(main())

"""Make the manifest of LJSpeech: one reader, `metadata.csv` beside the folder `wavs`.

    echoic prepare ljspeech LJSpeech-1.1 OUT.jsonl

A line of metadata.csv is NAME|TEXT|NORMALIZED, with no quotes around anything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from echoic.recipes.prepare.command import (
    Checksums,
    Download,
    Folder,
    Mode,
    Original,
    Out,
    Overwrite,
    Split,
    Verify,
    run,
)
from echoic.recipes.prepare.download import ljspeech_at

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command()(ljspeech)


def ljspeech(
    source: Folder,
    out: Out,
    original: Original = False,
    split: Split = "train",
    download: Download = False,
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """LJSpeech 1.1."""
    run(
        lambda: utterances(ljspeech_at(source, download), original, split),
        out,
        Mode(checksums, verify, overwrite),
    )


def utterances(folder: Path, original: bool, split: str) -> "Iterator[Found]":
    """Find the utterances; `original` for texts with numbers in digits.

    Raises:
        ValueError: no metadata.csv there, or not UTF-8.
        OSError: it cannot be read.
    """
    from echoic.recipes.prepare.corpus import Bad, Utterance, text_of

    path = folder.resolve() / "metadata.csv"
    if not path.is_file():
        raise ValueError(f"{folder} has no metadata.csv; expected the folder LJSpeech-1.1")
    # Not splitlines: some texts hold a separator of lines that is none here.
    for number, line in enumerate(text_of(path).rstrip("\n").split("\n"), start=1):
        name, *texts = line.split("|")
        if not 1 <= len(texts) <= 2:
            yield Bad(f"{path}, line {number}: expected NAME|TEXT|NORMALIZED; mend or drop it")
            continue
        text = texts[0] if original else texts[-1] or texts[0]
        audio = path.parent / "wavs" / f"{name}.wav"
        yield Utterance(name, audio, text, "en", "LJ", split)

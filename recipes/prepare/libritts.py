"""Make a manifest of LibriTTS or LibriTTS-R: a text beside every recording.

    echoic prepare libritts LibriTTS/train-clean-100 OUT.jsonl

NAME.normalized.txt holds the text as it is spoken, NAME.original.txt as it is printed. `split` is
the subset's name.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from echoic.recipes.prepare.command import (
    Checksums,
    DownloadSubset,
    Folder,
    Mode,
    Original,
    Out,
    Overwrite,
    Verify,
    run,
)
from echoic.recipes.prepare.download import libritts_at

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command()(libritts)


def libritts(
    source: Folder,
    out: Out,
    original: Original = False,
    download: DownloadSubset = None,
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """LibriTTS: a subset, or the folder of several."""
    run(
        lambda: utterances(libritts_at(source, download), original),
        out,
        Mode(checksums, verify, overwrite),
    )


def utterances(folder: Path, original: bool) -> "Iterator[Found]":
    """Find the utterances of a folder; `original` for texts as printed.

    Raises:
        ValueError: no recordings there.
    """
    from echoic.recipes.prepare.corpus import Bad, Untold, Utterance, find, text_of

    recordings = find(folder.resolve(), "*_*_*_*.wav")
    if not recordings:
        raise ValueError(
            f"{folder}: no SPEAKER_CHAPTER_*.wav; expected a LibriTTS subset such as dev-clean"
        )
    suffix = ".original.txt" if original else ".normalized.txt"
    for audio in recordings:
        text = audio.with_suffix(suffix)
        if not text.exists():
            yield Untold(audio)
            continue
        try:
            said = text_of(text)
        except (OSError, ValueError) as e:
            yield Bad(str(e))
            continue
        split = audio.parents[2].name  # SUBSET/SPEAKER/CHAPTER/NAME.wav
        yield Utterance(audio.stem, audio, said, "en", audio.stem.split("_")[0], split)

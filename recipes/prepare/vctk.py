"""Make the manifest of VCTK 0.92: 110 speakers of English, each recorded by two microphones.

    echoic prepare vctk VCTK-Corpus-0.92 OUT.jsonl

Recordings are in wav48_silence_trimmed/SPEAKER/NAME_mic1.flac, texts in txt/SPEAKER/NAME.txt.
Speaker p315 has no texts, and p280 has nothing by the second microphone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoic.recipes.prepare.command import (
    Checksums,
    Download,
    Folder,
    Mode,
    Out,
    Overwrite,
    Split,
    Verify,
    run,
)
from echoic.recipes.prepare.download import vctk_at

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command()(vctk)


def vctk(
    source: Folder,
    out: Out,
    mic: Annotated[int, typer.Option(min=1, max=2, help="Microphone.")] = 1,
    split: Split = "train",
    download: Download = False,
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """VCTK 0.92."""
    run(
        lambda: utterances(vctk_at(source, download), mic, split),
        out,
        Mode(checksums, verify, overwrite),
    )


def utterances(folder: Path, mic: int, split: str) -> "Iterator[Found]":
    """Find the utterances that one microphone recorded.

    Raises:
        ValueError: no recordings there.
    """
    from echoic.recipes.prepare.corpus import Bad, Untold, Utterance, find, text_of

    folder = folder.resolve()
    ending = f"_mic{mic}.flac"
    recordings = find(folder / "wav48_silence_trimmed", f"*{ending}")
    if not recordings:
        raise ValueError(
            f"{folder}: no *{ending} in wav48_silence_trimmed; expected VCTK-Corpus-0.92"
        )
    for audio in recordings:
        name, speaker = audio.name.removesuffix(ending), audio.parent.name
        try:
            said = text_of(folder / "txt" / speaker / f"{name}.txt")
        except FileNotFoundError:
            yield Untold(audio)
        except (OSError, ValueError) as e:
            yield Bad(str(e))
        else:
            yield Utterance(name, audio, said, "en", speaker, split)

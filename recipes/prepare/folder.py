"""Make a manifest of any folder in which texts lie beside recordings of the same name.

    echoic prepare folder SRC OUT.jsonl --lang en

| beside NAME.wav | its utterances |
| --- | --- |
| NAME.TextGrid | each interval of a tier in which something is said |
| NAME.srt, NAME.vtt | each cue |
| NAME.txt | the recording, with the whole text |

Of several, the one that comes first here is taken. Recordings with none are counted.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from echoic.recipes.prepare.command import (
    Checksums,
    Folder,
    Mode,
    Out,
    Overwrite,
    Split,
    Verify,
    run,
)

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found


class Texts(StrEnum):
    """A kind of file with texts."""

    TEXTGRID = "textgrid"
    SRT = "srt"
    VTT = "vtt"
    TXT = "txt"


_SUFFIXES = {
    Texts.TEXTGRID: (".TextGrid", ".textgrid"),
    Texts.SRT: (".srt",),
    Texts.VTT: (".vtt",),
    Texts.TXT: (".txt",),
}


class Wanted(NamedTuple):
    """What is known of a folder.

    Attributes:
        lang: language of all texts.
        split: what to call this part.
        texts: the only kind of text to take; None for any.
        tier: of TextGrids; None for their only one.
        speaker: who speaks in all recordings; None where nobody knows.
        by_folder: each recording's folder is named after its speaker.
    """

    lang: str
    split: str = "train"
    texts: Texts | None = None
    tier: str | None = None
    speaker: str | None = None
    by_folder: bool = False


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command(epilog="Of several texts, TextGrid comes before srt, vtt and txt.")(folder)


def folder(
    source: Folder,
    out: Out,
    lang: Annotated[str, typer.Option(metavar="CODE", help="Language of the texts, as en.")],
    texts: Annotated[
        Texts | None, typer.Option(help="Take texts of this kind only; else what is there.")
    ] = None,
    tier: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tier of TextGrids that have several.")
    ] = None,
    speaker: Annotated[str | None, typer.Option(metavar="NAME", help="Who speaks in all.")] = None,
    speaker_folders: Annotated[
        bool, typer.Option("--speaker-folders", help="Folders are named after speakers.")
    ] = False,
    split: Split = "train",
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """Recordings of any kind with .txt, .srt, .vtt or .TextGrid beside them."""
    wanted = Wanted(lang, split, texts, tier, speaker, speaker_folders)
    run(lambda: utterances(source, wanted), out, Mode(checksums, verify, overwrite))


def utterances(folder: Path, wanted: Wanted) -> "Iterator[Found]":
    """Find the utterances of a folder.

    Raises:
        ValueError: no recordings there.
        ImportError: praatio is not installed, and there is a TextGrid.
    """
    from echoic.audio.io import AUDIO_SUFFIXES
    from echoic.recipes.prepare.corpus import Bad, Untold, find

    folder = folder.resolve()
    recordings = [p for p in find(folder, "*") if p.suffix.lower() in AUDIO_SUFFIXES]
    if not recordings:
        raise ValueError(f"{folder}: no recordings; expected some such as NAME.wav with NAME.txt")
    for audio in recordings:
        text = _text_beside(audio, wanted.texts)
        if text is None:
            yield Untold(audio)
            continue
        try:
            yield from _told(folder, audio, text, wanted)
        except (OSError, ValueError) as e:
            yield Bad(str(e))


def _text_beside(audio: Path, kind: Texts | None) -> Path | None:
    kinds = list(Texts) if kind is None else [kind]
    files = (audio.with_suffix(suffix) for kind in kinds for suffix in _SUFFIXES[kind])
    return next((path for path in files if path.is_file()), None)


def _told(folder: Path, audio: Path, text: Path, wanted: Wanted) -> "Iterator[Found]":
    from echoic.recipes.prepare.corpus import Utterance, text_of

    name = audio.relative_to(folder).with_suffix("").as_posix()
    speaker = audio.parent.name if wanted.by_folder else wanted.speaker
    known = (wanted.lang, speaker, wanted.split)
    suffix = text.suffix.lower()
    if suffix == ".txt":
        yield Utterance(name, audio, text_of(text), *known)
        return
    if suffix == ".textgrid":
        from echoic.asr.whisper.training.textgrid import read_tier

        cues = read_tier(text, wanted.tier)
    else:
        from echoic.recipes.prepare.cues import read_cues

        cues = read_cues(text)
    if not cues:
        raise ValueError(f"{text}: nothing is said in it; write it, or drop both")
    for number, (said, start, end) in enumerate(cues, start=1):
        yield Utterance(f"{name}-{number:04d}", audio, said, *known, start, end)

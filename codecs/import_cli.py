"""The command `import codec`: a codec that others published, made ours.

Nothing here imports torch before the command runs.
"""

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from echoic.audio.errors import one_line

FAILED, WRONG_USAGE = 1, 2


class Kind(StrEnum):
    """What can be imported."""

    HIFICODEC = "hificodec"
    LANGUAGECODEC = "languagecodec"
    DISTILCODEC = "distilcodec"
    ENCODEC = "encodec"
    DAC = "dac"
    MIMI = "mimi"


def add(group: typer.Typer) -> None:
    """Add the command to the group `import`."""
    group.command("codec")(codec)


def codec(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A checkpoint, or a folder that holds the codec.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder for the codec, new or empty.")
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="What it is; else found by what is in it.")
    ] = None,
) -> None:
    """Turn a published codec into a folder that `echoic codec -m` takes.

    HiFi-Codec, Language-Codec and DistilCodec are checkpoints, with their JSON or YAML beside them.

    EnCodec (mono), DAC and Mimi are folders that transformers wrote. No code from a file is run.
    """
    from echoic.codecs.distilcodec.importer import LICENCE_NOTICE, LicenceWarning
    from echoic.codecs.upstream.importing import import_codec

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LicenceWarning)  # told below, in one line
            done = import_codec(source, folder, None if kind is None else kind.value)
    except (FileNotFoundError, FileExistsError) as error:
        raise _failed(error, WRONG_USAGE) from error
    except (ValueError, OSError) as error:
        raise _failed(error, FAILED) from error
    made = done.codec
    rate = f"{made.bits_per_second() / 1000:g} kbit/s"
    typer.echo(
        f"{one_line(str(done.folder))}: {done.kind}, {made.sample_rate} Hz, {made.frame_rate:g} "
        f"frames a second of {made.num_codebooks} codes of {made.codebook_size} values, {rate}"
    )
    if done.kind == Kind.DISTILCODEC:
        typer.echo(f"echoic: {LICENCE_NOTICE}", err=True)


def _failed(error: Exception, code: int) -> typer.Exit:
    typer.echo(f"echoic: {one_line(str(error))}", err=True)
    return typer.Exit(code)

"""The verb `models`: what comes in the box, of every folder that has one."""

from pathlib import Path
from typing import NamedTuple

import typer

from echoic.asr.paraformer.box import box_models as box_paraformers
from echoic.asr.whisper.box import box_adapters, box_models
from echoic.codecs.box import box_codecs
from echoic.tts.box import box_talkers


class Boxed(NamedTuple):
    """What comes in the box: `num_bytes` is the size of its folder."""

    name: str
    folder: Path
    num_bytes: int
    description: str


def register(app: typer.Typer) -> None:
    """Add the verb `models` to the command line."""
    app.command("models")(models)


def in_the_box() -> list[Boxed]:
    """Return all that comes in the box."""
    found = [*box_models(), *box_adapters(), *box_paraformers(), *box_codecs(), *box_talkers()]
    return [Boxed(m.name, m.folder, m.num_bytes, m.description) for m in found]


def models() -> None:
    """List the models, codecs and talkers that come in the box."""
    rows = [(m.name, f"{m.num_bytes / 1e6:.1f} MB", m.description) for m in in_the_box()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    for name, size, description in rows:
        typer.echo(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {description}")
    if not rows:
        typer.echo("echoic: the box is empty; give a model id or a folder with -m", err=True)

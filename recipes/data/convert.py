"""The command `data convert`: manifests, Lhotse's cuts and data sets of Hugging Face."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoic.audio.errors import one_line
from echoic.recipes.data.failing import WRONG_USAGE, fail

if TYPE_CHECKING:
    from echoic.audio.data.manifest import Row
    from echoic.audio.data.problems import Problem

log = logging.getLogger(__name__)


class Form(StrEnum):
    """How utterances are written down."""

    MANIFEST = "manifest"
    LHOTSE = "lhotse"
    HF = "hf"


def add(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    group.command(
        epilog="Forms: manifest, JSON Lines with audio, text and so on; lhotse, JSON Lines of "
        "cuts; hf, a folder that save_to_disk wrote. Exit code: 0 done, 1 failed, 2 wrong usage."
    )(convert)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The file or folder.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="A file, .gz to compress it, or a folder for hf.")
    ],
    from_: Annotated[
        Form | None, typer.Option("--from", help="Form of IN; else told by its content.")
    ] = None,
    to: Annotated[
        Form | None, typer.Option("--to", help="Form of OUT; else hf for a folder's name.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out lines that cannot be converted.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Convert a manifest to Lhotse's cuts or a data set of Hugging Face, or back.

    A data set holds sound itself: it is copied into one, and out of one to the folder OUT.audio.
    """
    from echoic.audio.data.problems import log_skipped

    skipped: list[Problem] = []

    def rows() -> "Iterator[Row]":
        skipped.clear()  # a data set is written in two passes
        return _rows(of, source, output, skipped if skip_bad else None)

    try:
        of = from_ or form_of(source)
        into = to or _target(of, output)
        if of == into:
            raise _wrong(f"IN and OUT are both {of}; say which form with --from and --to")
        if output.exists() and not (overwrite and output.is_file()):
            raise _wrong(f"{output} is there; choose another OUT, or a file with --overwrite")
        count = _write(into, output, rows)
    except (ImportError, OSError, ValueError) as e:
        raise fail(e, source) from e
    log_skipped(log, skipped)
    typer.echo(f"{one_line(str(output))}: {count:,} utterances, {into}")


def form_of(source: Path) -> Form:
    """Return the form of a file or folder by its content.

    Raises:
        ValueError: a folder that no data set was saved to.
        OSError: it cannot be read.
    """
    from echoic.audio.data.hf import is_dataset
    from echoic.audio.data.lhotse import is_cut
    from echoic.audio.data.line import parse_line
    from echoic.audio.data.manifest import lines_of
    from echoic.audio.data.problems import LineError

    if source.is_dir():
        if not is_dataset(source):
            raise ValueError(f"{source} is a folder without a data set; save one by save_to_disk")
        return Form.HF
    for _, line in lines_of(source):
        with contextlib.suppress(LineError):  # told when it is read
            return Form.LHOTSE if is_cut(parse_line(line)) else Form.MANIFEST
    return Form.MANIFEST


def _target(of: Form, output: Path) -> Form:
    from echoic.audio.data.manifest import MANIFEST_SUFFIXES

    if not output.name.lower().endswith(MANIFEST_SUFFIXES):
        return Form.HF
    return Form.LHOTSE if of is Form.MANIFEST else Form.MANIFEST


def _rows(of: Form, source: Path, output: Path, skipped: "list[Problem] | None") -> "Iterator[Row]":
    if of is Form.HF:
        from echoic.audio.data.hf import read_dataset

        return read_dataset(source, output.with_name(f"{output.name}.audio"))
    if of is Form.LHOTSE:
        from echoic.audio.data.lhotse import read_cuts

        return read_cuts(source, skipped)
    from echoic.audio.data.manifest import Source
    from echoic.audio.data.validate import valid_rows

    return valid_rows(Source(str(source)), skipped=skipped)


def _write(into: Form, output: Path, rows: "Callable[[], Iterator[Row]]") -> int:
    if into is Form.HF:
        from echoic.audio.data.hf import write_dataset

        return write_dataset(output, rows)
    if into is Form.LHOTSE:
        from echoic.audio.data.lhotse import write_cuts

        return write_cuts(output, rows())
    from echoic.audio.data.manifest import write_manifest

    return write_manifest(output, rows())


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"echoic: {one_line(message)}", err=True)
    return typer.Exit(WRONG_USAGE)

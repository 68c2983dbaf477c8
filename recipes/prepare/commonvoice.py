"""Make the manifest of a language of Common Voice: tables beside the folder `clips`.

    echoic prepare commonvoice cv-corpus-17.0-2024-03-15/de OUT.jsonl

The tables are train.tsv, dev.tsv and test.tsv, and those that are asked for; `split` is a table's
name. They have no quotes around anything.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoic.recipes.prepare.command import Checksums, Folder, Mode, Out, Overwrite, Verify, run

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found

PARTS = ("train", "dev", "test")
_COLUMNS = ("client_id", "path", "sentence")


def add(group: typer.Typer) -> None:
    """Add the command to the group `prepare`."""
    group.command()(commonvoice)


def commonvoice(
    source: Folder,
    out: Out,
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Table to read, such as validated; train, dev and test else."
        ),
    ] = None,
    checksums: Checksums = False,
    verify: Verify = False,
    overwrite: Overwrite = False,
) -> None:
    """Common Voice: the folder of one language."""
    run(lambda: utterances(source, part or PARTS), out, Mode(checksums, verify, overwrite))


def utterances(folder: Path, parts: Sequence[str]) -> "Iterator[Found]":
    """Find the utterances of some tables; of one that is in several, the first counts.

    Raises:
        ValueError: a table is not there, or is none of Common Voice.
        OSError: it cannot be read.
    """
    for part in parts:
        path = folder.resolve() / f"{part}.tsv"
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {path.name}; name the folder of one language, "
                "such as cv-corpus-17.0-2024-03-15/de"
            )
        yield from _in_table(path)


def _in_table(path: Path) -> "Iterator[Found]":
    from echoic.recipes.prepare.corpus import Bad, Utterance

    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in _rows(path, table):
            speaker, clip, text = (row[name] for name in _COLUMNS)
            if not clip or text is None:
                wanted = f"expected {len(row)} columns; mend or drop the line"
                yield Bad(f"{path}, line {table.line_num}: {wanted}")
                continue
            audio = path.parent / "clips" / clip
            lang = row.get("locale") or path.parent.name
            yield Utterance(audio.stem, audio, text, lang, speaker or None, path.stem)


def _rows(path: Path, table: "csv.DictReader[str]") -> Iterator[dict[str, str | None]]:
    try:
        missing = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]}; name a table of Common Voice")
        yield from table
    except (UnicodeDecodeError, csv.Error) as e:
        raise ValueError(f"{path}, after line {table.line_num}: {e}; unpack it again") from e

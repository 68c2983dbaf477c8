"""What the commands of `echoic prepare` share: their options, how they end and what they tell."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from echoic.audio.errors import error_line, one_line
from echoic.recipes.prepare.download import Subset

if TYPE_CHECKING:
    from echoic.recipes.prepare.corpus import Found, Outcome

MANIFEST = "manifest.jsonl"
FAILED = 1

Folder = Annotated[Path, typer.Argument(metavar="SRC", help="The folder of the data set.")]
Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help=f"The manifest, .gz to compress it; a folder gets {MANIFEST}."
    ),
]
Split = Annotated[str, typer.Option(metavar="NAME", help="What to call this part.")]
Original = Annotated[
    bool, typer.Option("--original", help="Texts as printed: numbers in digits, abbreviations.")
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch it into SRC first, if it is not there.")
]
DownloadSubset = Annotated[
    Subset | None, typer.Option(help="Fetch this subset into SRC first, if it is not there.")
]
Checksums = Annotated[
    bool, typer.Option("--checksums", help="Write the SHA-256 of each recording into its row.")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Only compare the recordings of OUT with their SHA-256.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make all rows anew; else those in OUT are kept.")
]


class Mode(NamedTuple):
    """How to make a manifest: the options of that name."""

    checksums: bool = False
    verify: bool = False
    overwrite: bool = False


USUAL = Mode()


def run(find: "Callable[[], Iterable[Found]]", out: Path, mode: Mode) -> None:
    """Make a manifest, or verify one, as a command of `echoic prepare`.

    Args:
        find: returns the utterances; called where they are needed.
        out: the manifest, or its folder.
        mode: options.

    Raises:
        typer.Exit: something was wrong, and was told.
    """
    if code := make(find, out, mode, "echoic"):
        raise typer.Exit(code)


def make(
    find: "Callable[[], Iterable[Found]]", out: Path, mode: Mode = USUAL, name: str = "echoic"
) -> int:
    """Make a manifest, or verify one; return the exit code.

    What was made is printed; what was passed over, and why, goes to standard error at the end.

    Args:
        find: returns the utterances; called where they are needed.
        out: the manifest, or its folder.
        mode: options.
        name: of the program, before what it says on standard error.
    """
    from echoic.audio.data.manifest import MANIFEST_SUFFIXES

    if not out.name.lower().endswith(MANIFEST_SUFFIXES):
        out = out / MANIFEST
    try:
        told = _verify(out) if mode.verify else _make(find, out, mode)
    except (ImportError, OSError, ValueError) as e:
        told = [error_line(e)]
    for line in told:
        print(f"{name}: {one_line(line)}", file=sys.stderr)
    return FAILED if told else 0


def _make(find: "Callable[[], Iterable[Found]]", out: Path, mode: Mode) -> list[str]:
    from echoic.recipes.prepare.corpus import write_corpus

    outcome = write_corpus(find(), out, checksums=mode.checksums, overwrite=mode.overwrite)
    if not outcome.utterances:
        found = f"{outcome.untold} recordings without text, {len(outcome.bad)} bad ones"
        return [*outcome.bad, f"{out} is not written: {found}, and nothing else; look into SRC"]
    print(f"{one_line(str(out))}: {summary(outcome)}")
    if outcome.bad:
        return [*outcome.bad, f"{len(outcome.bad)} passed over; mend them and run this again"]
    return []


def summary(outcome: "Outcome") -> str:
    """Return what a manifest has in one line."""
    parts = [f"{outcome.utterances} utterances", f"{outcome.seconds / 3600:.2f} hours"]
    if outcome.kept:
        parts.append(f"{outcome.kept} kept")
    if outcome.untold:
        shown = one_line(str(outcome.first_untold))
        parts.append(f"{outcome.untold} recordings without text passed over, such as {shown}")
    return ", ".join(parts)


def _verify(out: Path) -> list[str]:
    from echoic.recipes.prepare.checksums import recordings_of, verify
    from echoic.recipes.prepare.corpus import in_order

    rows, good = 0, 0
    wrong: list[str] = []
    for found in in_order(verify, recordings_of(out)):
        rows += found.rows
        good += not found.wrong
        if found.wrong:
            wrong.append(found.wrong)
    if not rows:
        return [f"{out} has no rows; prepare it first"]
    print(f"{one_line(str(out))}: {rows} rows, {good} recordings are as they were")
    return wrong

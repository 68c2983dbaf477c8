"""The command `data check`: everything that is wrong with a manifest, before a run finds it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoic.audio.errors import one_line
from echoic.recipes.data.failing import FAILED, fail

if TYPE_CHECKING:
    from echoic.audio.data.validate import Tally


def add(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    group.command(
        epilog="Exit code: 0 nothing is wrong, 1 something is, or the manifest cannot be read."
    )(check)


def check(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="JSON Lines, .gz or not.", dir_okay=False)
    ],
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="List what is wrong, but fail only if nothing is right."),
    ] = False,
    files: Annotated[
        bool, typer.Option("--files/--no-files", help="Look whether the recordings are there.")
    ] = True,
) -> None:
    """List what is wrong with a manifest, as FILE:LINE: what; mend.

    The last line counts what is right: utterances, hours, speakers, languages. Recordings are
    looked for, not decoded. Memory grows by some 70 bytes a line, where lines have ids.
    """
    from echoic.audio.data.validate import Tally, find_problems

    tally, bad, last = Tally(), 0, 0
    try:
        for problem in find_problems(manifest, tally, files=files):
            bad += problem.line != last
            last = problem.line
            where = f"{one_line(str(problem.path))}:{problem.line}"
            typer.echo(f"{where}: {problem.what}; {problem.mend}")
    except OSError as e:
        raise fail(e, manifest) from e
    typer.echo(summary(tally, bad))
    if bad and not (skip_bad and tally.utterances):
        raise typer.Exit(FAILED)


def summary(tally: "Tally", bad: int) -> str:
    """Return what a manifest holds in one line, and how many lines of it are bad."""
    parts = [f"{tally.utterances:,} utterances", f"{tally.seconds / 3600:.2f} hours"]
    if tally.untold:
        parts.append(f"{tally.untold:,} of unknown duration")
    parts.append(f"{tally.speakers:,} speakers")
    named = [f"{name or 'none'} ({n:,})" for name, n in tally.languages.most_common()]
    parts.append(f"languages {' '.join(named) or 'none'}")
    if bad:
        parts.append(f"{bad:,} bad lines")
    return ", ".join(parts)

"""How commands over data fail: one line, and an exit code."""

from pathlib import Path

import typer

from echoic.audio.errors import one_line

FAILED, WRONG_USAGE = 1, 2


def fail(error: Exception, path: Path) -> typer.Exit:
    """Print what went wrong with a file; return the end of the command."""
    message = one_line(str(error))
    if isinstance(error, OSError) and error.strerror:
        name = error.filename or path
        message = f"{one_line(str(name))}: {error.strerror}; check the path"
    typer.echo(f"echoic: {message}", err=True)
    return typer.Exit(FAILED)

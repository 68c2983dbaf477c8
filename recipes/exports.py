"""The verb `export`: models made ready for use elsewhere; each folder has its own commands.

Nothing here imports torch before a command runs.
"""

import typer

from echoic.asr import export_cli as asr

exporters = typer.Typer(
    no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)


def register(app: typer.Typer) -> None:
    """Add the verb `export` to the command line."""
    app.add_typer(exporters, name="export")


# With a callback it stays a group while it has one command.
@exporters.callback()
def export() -> None:
    """Export models for use elsewhere."""


asr.add(exporters)

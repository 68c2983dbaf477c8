"""The verb `import`: what others published, made ours; each folder has its own commands.

Nothing here imports torch before a command runs.
"""

import typer

from echoic.asr import import_cli as asr
from echoic.codecs import import_cli as codecs

importers = typer.Typer(
    no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)


def register(app: typer.Typer) -> None:
    """Add the verb `import` to the command line."""
    app.add_typer(importers, name="import")


@importers.callback()
def import_() -> None:
    """Import what others published."""


for folder in (asr, codecs):
    folder.add(importers)

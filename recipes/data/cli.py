"""The verb `data`: manifests looked over, counted and rewritten before a run reads them.

A command is a module beside this one with a function `add(group)`; what it needs of torch, numpy
and the readers of sound is imported when it runs.
"""

import typer

from echoic.recipes.data import buckets, check, convert, shard, stats

data = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


def register(app: typer.Typer) -> None:
    """Add the verb `data` to the command line."""
    app.add_typer(data, name="data")


@data.callback()
def data_() -> None:
    """Check, count and convert manifests of training data, and find the batches of a recipe."""


for command in (check, convert, shard, stats, buckets):
    command.add(data)

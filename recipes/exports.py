"""The verb `export`: a run made a model, and `export onnx` behind it: models for other runtimes.

Nothing here imports torch before a command runs.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from echoic.asr import export_cli as asr
from echoic.asr.batch.errors import printable

FAILED, WRONG_USAGE = 1, 2
EPILOG = (
    "`echoic export onnx MODEL OUT_DIR` writes a Paraformer for other runtimes; a run in a folder "
    "of that name is ./onnx. Exit code: 0 done, 1 failed, 2 wrong usage."
)


class Precision(StrEnum):
    """Number type of a file's weights."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


others = typer.Typer(add_completion=False)


# With a callback it stays a group while it has one command.
@others.callback()
def _group() -> None:
    pass


asr.add(others)


class ExportCommand(TyperCommand):
    """`export`, or another command where its name is the first word."""

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Read the words of the command that is meant."""
        group: Any = typer.main.get_command(others)
        if args and args[0] in group.commands:
            command = group.commands[args[0]]
            extra["help_option_names"] = ["-h", "--help"]
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def register(app: typer.Typer) -> None:
    """Add the verb `export` to the command line."""
    app.command("export", cls=ExportCommand, epilog=EPILOG)(export)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a run, or of a recipe's runs (the newest is taken), or a checkpoint.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write, new or empty.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="last|best|FILE",
            help="Whose weights; of several files (option given again) the mean.",
            show_default="last",
        ),
    ] = None,
    average: Annotated[
        int, typer.Option(min=1, help="Mean of so many: the best, or the newest.")
    ] = 1,
    precision: Annotated[
        Precision, typer.Option(help="Number type of the file's weights.")
    ] = Precision.FLOAT16,
    raw: Annotated[
        bool, typer.Option("--raw", help="Weights of the step itself, not their running mean.")
    ] = False,
    description: Annotated[str, typer.Option(help="One line for lists of models.")] = "",
    licence: Annotated[
        str, typer.Option("--license", help="Of the card, by hubs' names: apache-2.0, ...")
    ] = "unknown",
    language: Annotated[
        list[str] | None, typer.Option(help="Of the card: code; can be given again.")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Of the card: id on a hub; can be given again.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder with files in it, too.")
    ] = False,
) -> None:
    """Export models for use elsewhere: a training run as a folder that loads, ready for a hub.

    Writes weights, settings and a model card (README.md) that tells recipe, command, revision,
    data and figures of the run.
    """
    try:
        from echoic.asr.paraformer.onnx.export import check_folder
        from echoic.recipes.export_run import Misuse, export_run
        from echoic.recipes.model_card import Choices, Options
    except ImportError as e:
        if (e.name or "").startswith("echoic"):
            raise
        raise _failed(f"{e.name} is missing: pip install 'echoic[train]'", FAILED) from e
    try:
        check_folder(folder, overwrite=overwrite)
    except FileExistsError as e:
        raise _failed(e, WRONG_USAGE) from e
    try:
        done = export_run(
            run,
            folder,
            checkpoints=checkpoint or ["last"],
            average=average,
            options=Options(precision.value, not raw, description),
            choices=Choices(licence, language or (), dataset or ()),
        )
    except (OSError, ValueError) as e:
        raise _failed(e, WRONG_USAGE if isinstance(e, Misuse) else FAILED) from e
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    typer.echo(f"{printable(str(folder))}: {done.about.what}, {size:.1f} MB, of step {done.step}")
    if licence == "unknown":
        typer.echo("echoic: the card names no licence; say --license to publish it", err=True)


def _failed(error: Exception | str, code: int) -> typer.Exit:
    typer.echo(f"echoic: {printable(' '.join(str(error).split()))}", err=True)
    return typer.Exit(code)

"""The verb `train`: Lightning's command line over a recipe.

    echoic train fit --config recipes/whisper/causal-tiny.en.yaml [--key value]

A recipe names its task and its data by class; every field can be overridden on the command line.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

SUBCOMMANDS = ("fit", "validate", "test", "predict")
# What Lightning's trainer takes instead of a file.
_CHECKPOINTS = ("last", "best", "hpc")


class RecipeError(ValueError):
    """A recipe, or the command line over it, cannot be run; one line that says why."""


def register(app: typer.Typer) -> None:
    """Add the verb `train` to the command line."""
    # What follows the first word is Lightning's, --help too.
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("train", context_settings=settings, no_args_is_help=True)(train)


def train(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="fit|validate|test --config FILE [--key value]...",
            help="What to do, the recipe, and what to change in it.",
        ),
    ],
) -> None:
    """Train a model by a recipe, or validate or test it.

    Every field of the recipe can be given as --key value; train fit --help lists them.

    echoic train fit --config recipes/whisper/causal-tiny.en.yaml --trainer.max_steps 100

    echoic train fit --config recipes/whisper/causal-tiny.en.yaml --ckpt_path last
    """
    if arguments[0] not in SUBCOMMANDS:
        raise typer.BadParameter(f"{arguments[0]!r} is none of {', '.join(SUBCOMMANDS)}")
    try:
        run(arguments)
    except RecipeError as e:
        typer.echo(f"echoic: {e}", err=True)
        raise typer.Exit(2) from e
    except ImportError as e:
        if (e.name or "").startswith("echoic"):
            raise
        typer.echo(
            f"echoic: training needs {e.name or e}; install it with: pip install 'echoic[train]'",
            err=True,
        )
        raise typer.Exit(1) from e


def run(arguments: Sequence[str]) -> None:
    """Run Lightning's command line with the given arguments.

    Raises:
        RecipeError: the recipe cannot be read, or names what is not there.
        ImportError: a package that training needs is not installed.
    """
    from echoic.audio import torchaudio_guard

    torchaudio_guard.install()
    import jsonargparse  # noqa: F401 - named here, since Lightning's own error does not
    import peft  # noqa: F401 - the same, before a recipe is read for nothing
    from lightning import LightningDataModule, LightningModule
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

    class Parser(LightningArgumentParser):
        """Refuses in one line, not with all that it would have understood."""

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise RecipeError(one_line(message)) from ex

    class Recipe(LightningCLI):
        """Tells what is wrong with a recipe apart from what goes wrong in a run."""

        def instantiate_classes(self) -> None:
            """Build what the recipe names, and read what that needs."""
            try:
                super().instantiate_classes()
                check_checkpoint(self.config[self.config.subcommand].get("ckpt_path"))
                check = getattr(self.datamodule, "check", None)
                if check is not None:
                    check()
            except (OSError, ValueError) as e:
                raise RecipeError(one_line(str(e))) from e

    # They are the command line: Lightning's processes on other GPUs start from it as it is.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    Recipe(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"prog": "echoic train"},
        parser_class=Parser,
        args=list(arguments),
    )


def check_checkpoint(path: Any) -> None:
    """Look whether a checkpoint to go on from is there.

    Raises:
        RecipeError: it is not.
    """
    if path is None or str(path).startswith("registry"):
        return
    if str(path) not in _CHECKPOINTS and not Path(path).is_file():
        raise RecipeError(f"no checkpoint {path}; give a .ckpt file of a run to --ckpt_path")


def one_line(message: str) -> str:
    """Return the point of a message of jsonargparse, which tells all that it has tried."""
    lines = [line.strip() for line in message.splitlines()]
    key = re.match(r'Parser key "([^"]+)":', lines[0]) if lines else None
    tried = [line[2:] for line in lines if line.startswith("- ") and "not validate" not in line]
    if "Errors:" in lines and tried:
        return f"{key[1]}: {tried[0]}" if key else one_line(tried[0])
    return re.sub(r"^\[Errno \d+\] ", "", " ".join(" ".join(lines).split()))

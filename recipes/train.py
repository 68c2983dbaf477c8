"""The verb `train`: Lightning's command line over a recipe.

    echoic train fit --config recipes/whisper/causal-tiny.en.yaml [--key value]

A recipe names its task and its data by class; every field can be overridden on the command line.
What a run leaves behind is told in `echoic.recipes.run_record`.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from echoic.recipes.run_folder import Found, find_last

if TYPE_CHECKING:
    from jsonargparse import Namespace

SUBCOMMANDS = ("fit", "validate", "test", "predict")
# What Lightning's trainer takes instead of a file.
_CHECKPOINTS = ("last", "best", "hpc")
SMOKE_HELP = (
    "Try the recipe on a few recordings of this manifest (or folder, for codecs): a few steps of a "
    "tiny model, on the processor."
)


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

    Every field of the recipe can be given as --key value: train fit --help lists those of the
    trainer, --model.help CLASS and --data.help CLASS those of a task and of its data.

    echoic train fit --config recipes/whisper/causal-tiny.en.yaml --trainer.max_steps 100

    echoic train fit --config recipes/whisper/causal-tiny.en.yaml --ckpt_path last

    echoic train fit --config recipes/codec/echo-16k-tiny.yaml --smoke MANIFEST

    --smoke tries a recipe: a few steps of a tiny model on a few recordings, on the processor.
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
    from lightning import LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
    from lightning.pytorch.loggers import TensorBoardLogger

    from echoic.recipes.checkpoints import write_whole
    from echoic.recipes.recipe_parser import Parser
    from echoic.recipes.run_record import RunRecord
    from echoic.recipes.smoke import shrink

    class Recipe(LightningCLI):
        """Tells what is wrong with a recipe apart from what goes wrong in a run."""

        # The folder of the run that this one goes on with, in it.
        goes_on: Path | None = None

        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            """Add what is not Lightning's."""
            parser.add_argument("--smoke", type=Optional[str], help=SMOKE_HELP)  # noqa: UP045

        def instantiate_classes(self) -> None:
            """Build what the recipe names, and read what that needs."""
            config = self.config[self.config.subcommand]
            try:
                if config.smoke is not None:
                    shrink(config, config.smoke)
                    config.smoke = None  # what is saved is small already
                last = last_of(config)
                if last is not None:
                    config.ckpt_path = str(last.last)
                    self.goes_on = last.folder if self.config.subcommand == "fit" else None
                super().instantiate_classes()
                check_checkpoint(config.get("ckpt_path"))
                check = getattr(self.datamodule, "check", None)
                if check is not None:
                    check()
            except (OSError, ValueError) as e:
                raise RecipeError(one_line(str(e))) from e

        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            """Build the trainer, which goes on in the folder that it stopped in."""
            trainer = super().instantiate_trainer(**kwargs)
            write_whole(trainer)
            first, folder = trainer.logger, self.goes_on
            if (
                folder is not None
                and isinstance(first, TensorBoardLogger)
                and Path(first.root_dir) == folder.parent
            ):
                again = TensorBoardLogger(first.root_dir, "", version=folder.name)
                trainer.loggers = [again, *trainer.loggers[1:]]
            return trainer

    # They are the command line: Lightning's processes on other GPUs start from it as it is.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    # Codecs step by hand, and what a run goes on from is what a step has made.
    warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")
    Recipe(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=RunRecord,
        save_config_kwargs={"overwrite": True, "command": ["train", *arguments]},
        parser_kwargs={"prog": "echoic train"},
        parser_class=Parser,
        args=list(arguments),
    )


def last_of(config: "Namespace") -> Found | None:
    """Return the run to go on with where `ckpt_path` is "last"; None where there is none yet.

    Lightning itself looks in the folder that a run is to write, which is a new one each time.
    """
    if config.get("ckpt_path") != "last":
        return None
    callbacks = config.trainer.callbacks or []
    found = [callback.get("init_args") or {} for callback in callbacks]
    dirpaths = [Path(values["dirpath"]) for values in found if values.get("dirpath")]
    return find_last(Path(config.trainer.default_root_dir or "."), dirpaths)


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

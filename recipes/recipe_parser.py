"""Recipes read as `echoic train` reads them, for whoever wants parts of one without running it."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

from jsonargparse import ArgumentParser, Namespace
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from echoic.recipes.train import RecipeError, one_line

T = TypeVar("T")


class Parser(LightningArgumentParser):
    """Refuses in one line, not with all that it would have understood."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what `echoic train` prints."""
        raise RecipeError(one_line(message)) from ex


class _Reader(LightningCLI):
    """Reads, and builds nothing."""

    def instantiate_classes(self) -> None:
        """Leave model, data and trainer as the recipe says them."""


def read_recipe(arguments: Sequence[str]) -> Namespace:
    """Return the fields of a recipe: `model`, `data`, `trainer` and others.

    Args:
        arguments: as those of `echoic train fit`: --config FILE, --key value.

    Raises:
        RecipeError: the recipe cannot be read, or names what is not there.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        reader = _Reader(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            parser_class=Parser,
            args=list(arguments),
            run=False,
        )
    return reader.config


def build_part(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return the object that a part of a recipe stands for.

    Args:
        kind: class that it is of.
        values: `class_path` and `init_args`.

    Raises:
        RecipeError: they do not say how to build one.
        OSError, ValueError: it cannot be built.
    """
    parser = Parser(add_help=False)
    parser.add_subclass_arguments(kind, "part", required=True)
    built = parser.parse_object({"part": dict(values)})
    with warnings.catch_warnings():  # the newer name is not known to all versions
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast(Namespace, ArgumentParser.instantiate_classes(parser, built)).part

"""What the verbs of this folder share: options with a place on the help page, and their spelling.

Nothing here imports torch.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import typer

DEFAULT_MODEL = "tiny.en"
LANGUAGE_ADAPTER = "Adapter of a language of this Whisper, used for it; can be given again."


class DType(StrEnum):
    """Number type of the weights."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT16X8 = "int16x8"
    INT8 = "int8"


class Policy(StrEnum):
    """What a live recogniser trusts, see `echoic.asr.whisper.streaming.load`."""

    CAUSAL = "causal"
    AGREEMENT = "agreement"
    ALIGNATT = "alignatt"


def option(help: str, panel: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    """Return a Typer option in one of the help page's panels."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def spelling(aliases: Mapping[str, str]) -> Callable[[str], str]:
    """Return what brings names of options to ours: `beam_size` to `beam-size`, aliases to theirs.

    Args:
        aliases: other names for ours, all with hyphens.
    """

    def normalize(name: str) -> str:
        name = name.replace("_", "-")
        return aliases.get(name, name)

    return normalize

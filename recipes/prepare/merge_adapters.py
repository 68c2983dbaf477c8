"""Merge language adapters into one: the mean of their weights, for all their languages.

    python -m echoic.recipes.prepare.merge_adapters OUT DIR[=WEIGHT] DIR[=WEIGHT]...

Weights are shares that sum to 1; without them all count alike. The adapters must be of one model
and size, and have begun from the same weights (`seed` of their training).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.language_adapter_file import load_language_adapter, save_language_adapter
from echoic.asr.whisper.language_merge import merge_language_adapters
from echoic.audio.errors import error_line


class Part(NamedTuple):
    """An adapter's folder and its share; None where all count alike."""

    folder: Path
    weight: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m echoic.recipes.prepare.merge_adapters",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("parts", type=_part, nargs="+", metavar="DIR[=WEIGHT]")
    parser.add_argument("--precision", choices=("float16", "float32"), default="float16")
    given = parser.parse_args(arguments)
    weights = [part.weight for part in given.parts if part.weight is not None]
    if weights and len(weights) < len(given.parts):
        parser.error("some adapters have a weight and some have none: give all one, or none")
    try:
        adapters = [load_language_adapter(part.folder) for part in given.parts]
        merged = merge_language_adapters(adapters, weights or None)
        save_language_adapter(given.out, merged, dtype=getattr(torch, given.precision))
    except (CheckpointError, OSError, ValueError) as e:
        print(f"merge_adapters: {error_line(e)}", file=sys.stderr)
        return 1
    print(f"{given.out}: {len(adapters)} adapters merged, for {', '.join(merged.config.languages)}")
    return 0


def _part(text: str) -> Part:
    folder, equals, weight = text.rpartition("=")
    if not equals or Path(text).is_dir():
        return Part(Path(text), None)
    try:
        return Part(Path(folder), float(weight))
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{weight!r} in {text!r} is no number") from e


if __name__ == "__main__":
    sys.exit(main())

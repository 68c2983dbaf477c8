"""The command `data buckets`: the largest batch of each bucket that a recipe's own step bears."""

import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from echoic.recipes.data.failing import FAILED, WRONG_USAGE, fail

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SEARCH_LOG = "echoic.audio.data.batch_search"


def add(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    # What is no option here is a field of the recipe.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    group.command(
        context_settings=settings,
        epilog="A GPU's memory is filled until it is full; a processor has --memory or "
        "--step-seconds. Exit code: 0 done, 1 failed, 2 wrong usage.",
    )(buckets)


def buckets(
    context: typer.Context,
    config: Annotated[
        list[str],
        typer.Option("--config", metavar="RECIPE", help="As of `train fit`; several times, too."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT.yaml", help="Write to a file, not to stdout."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="4G", help="Most memory of a process, or of a GPU.")
    ] = None,
    step_seconds: Annotated[
        float | None, typer.Option(min=1e-3, help="Most time of a step, in place of memory.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    most: Annotated[int, typer.Option(min=1, help="Most utterances in a batch.")] = 4096,
) -> None:
    """Find buckets for a recipe's data, and the largest batch of each that its step bears.

    Edges of durations and lengths of text come from the manifests that the recipe trains on, sizes
    from real steps of its task on noise, from the longest bucket to the shortest. What is found is
    a recipe to be laid over the other:

    echoic data buckets --config recipes/paraformer/librispeech.yaml --device cuda -o buckets.yaml

    echoic train fit --config recipes/paraformer/librispeech.yaml --config buckets.yaml

    Fields of the recipe can be given as --key value, such as --data.init_args.buckets.duration 10.
    """
    from echoic.audio import torchaudio_guard
    from echoic.recipes.train import RecipeError

    torchaudio_guard.install()
    if memory is not None and step_seconds is not None:
        raise typer.BadParameter("--memory and --step-seconds exclude each other: give one of them")
    most_bytes = None if memory is None else bytes_of(memory)
    arguments = [word for path in config for word in ("--config", path)] + context.args
    try:
        from echoic.recipes.bucket_search import Limit, search_recipe

        limit = Limit(device, most_bytes, step_seconds)
        with _told():
            found = search_recipe(arguments, limit, most)
        text = found.to_yaml(f"Found by: echoic data buckets {shlex.join(arguments)}")
        if out is None:
            typer.echo(text, nl=False)
        else:
            out.write_text(text, encoding="utf-8")
    except RecipeError as e:
        typer.echo(f"echoic: {e}", err=True)
        raise typer.Exit(WRONG_USAGE) from e
    except ImportError as e:
        if (e.name or "").startswith("echoic"):
            raise
        need = f"echoic: this needs {e.name or e}; install it with: pip install 'echoic[train]'"
        typer.echo(need, err=True)
        raise typer.Exit(FAILED) from e
    except (OSError, RuntimeError, ValueError) as e:
        raise fail(e, out or Path(config[0])) from e
    if out is not None:
        sizes = found.buckets.batch_sizes
        typer.echo(
            f"{out}: {len(sizes)} buckets, batches of {min(sizes)} to {max(sizes)}; "
            f"{found.utterances:,} utterances in {found.steps:,} steps"
        )


def bytes_of(text: str) -> int:
    """Return how many bytes a text such as "4G" or "512M" means, by powers of 1024.

    Raises:
        typer.BadParameter: none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"--memory is {text!r}, expected a size such as 4G or 512M")
    return int(float(match[1]) * 2 ** _UNITS[match[2].upper()])


@contextmanager
def _told() -> Iterator[None]:
    """Tell on stderr what the search finds, bucket by bucket."""
    log, handler = logging.getLogger(_SEARCH_LOG), logging.StreamHandler()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)

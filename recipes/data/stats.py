"""The command `data stats`: how long utterances are, and what is padding in their batches."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from echoic.recipes.data.failing import fail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from echoic.audio.data.manifest import Row, Source
    from echoic.audio.data.padding import Bin, Padding

_BAR = 40


class Lengths(NamedTuple):
    """Seconds of each utterance, and tokens of each text: empty where no row has a text."""

    durations: list[float]
    tokens: list[int]


def add(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    group.command(
        epilog="Padding is the share of what a model computes that no utterance needs: of the "
        "encoder's sound, and of the decoder's tokens. Exit code: 0 done, 1 failed, 2 wrong usage."
    )(stats)


def stats(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST[,split=NAME][,lang=NAME]", help="JSON Lines.")
    ],
    tokens: Annotated[
        str,
        typer.Option(
            metavar="words|chars|FOLDER",
            help="What texts are counted in; a folder has a vocabulary's tokens.json.",
        ),
    ] = "words",
    buckets: Annotated[
        str, typer.Option(metavar="30x5", help="Buckets of durations, and of texts in each.")
    ] = "30x5",
    batch_seconds: Annotated[
        float, typer.Option(min=1e-3, help="Most sound in a batch out of buckets.")
    ] = 360.0,
    plot: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Draw both tables into a picture.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count utterances by duration, and compare ways to make batches of them.

    What padding costs, and how many steps an epoch has: each utterance padded to 30 s, batches by
    chance, buckets of durations, and buckets of durations and lengths of text.
    """
    from echoic.audio.data.manifest import Source
    from echoic.audio.data.padding import compare, histogram

    shape = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", buckets)
    if not shape:
        raise typer.BadParameter(f"--buckets is {buckets!r}, expected two numbers such as 30x5")
    try:
        source = Source.parse(manifest)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    path = Path(source.path)
    try:
        lengths = read_lengths(source, counter_of(tokens))
        bins = histogram(lengths.durations)
        known = lengths.tokens if any(lengths.tokens) else None
        ways = compare(lengths.durations, known, int(shape[1]), int(shape[2]), batch_seconds)
        if plot is not None:
            from echoic.audio.plot import save_figure

            save_figure(draw(bins, ways), plot)
    except (ImportError, OSError, ValueError) as e:
        raise fail(e, path) from e
    typer.echo(as_object(lengths, bins, ways) if as_json else as_text(lengths, tokens, bins, ways))


def counter_of(tokens: str) -> Callable[[str], int]:
    """Return what counts the tokens of a text.

    Raises:
        typer.BadParameter: neither "words" nor "chars" nor a folder.
        CheckpointError: a folder without a vocabulary.
    """
    if tokens == "words":
        return lambda text: len(text.split())
    if tokens == "chars":
        return lambda text: len("".join(text.split()))
    if not Path(tokens).is_dir():
        raise typer.BadParameter(
            f"--tokens is {tokens!r}, expected words, chars, or a folder with tokens.json"
        )
    from echoic.asr.paraformer.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(tokens)
    return lambda text: len(tokenizer.encode(text))


def read_lengths(source: "Source", count: Callable[[str], int]) -> Lengths:
    """Read how long the utterances of a manifest are; files are opened where it does not tell.

    Raises:
        ValueError: it has none, or a line of it cannot be used.
        OSError: it, or a recording of unknown duration, cannot be read.
    """
    from echoic.audio.data.manifest import rows_of

    durations, tokens = [], []
    for row in rows_of(source):
        seconds = seconds_of(row)
        if seconds <= 0:
            raise ValueError(
                f"{source.path}, line {row.number}: it lasts {seconds} s; leave it out"
            )
        durations.append(seconds)
        text = row.values.get("text")
        tokens.append(count(text) if isinstance(text, str) else 0)
    if not durations:
        of = "".join(f" of {name} {value!r}" for name, value in source.conditions.items())
        raise ValueError(f"{source.path} has no utterances{of}; name a manifest with some")
    return Lengths(durations, tokens)


def seconds_of(row: "Row") -> float:
    """Return how long a row lasts, from its file where the row does not tell.

    Raises:
        ValueError: the file does not tell either.
        OSError: it cannot be read.
    """
    if row.duration is not None:
        return row.duration
    from echoic.audio.io import info

    seconds = info(row.audio).duration
    if seconds is None:
        raise ValueError(f"{row.audio} does not tell how long it is; write `duration` in its line")
    return seconds - (row.offset or 0.0)


def as_text(lengths: Lengths, unit: str, bins: "list[Bin]", ways: "list[Padding]") -> str:
    """Return the tables as lines of text."""
    seconds = lengths.durations
    mean, count = sum(seconds) / len(seconds), len(seconds)
    head = (
        f"{count:,} utterances, {sum(seconds) / 3600:.2f} hours, {min(seconds):.2f} to "
        f"{max(seconds):.2f} s, {mean:.2f} s on average"
    )
    if any(lengths.tokens):
        named = unit if unit in ("words", "chars") else "tokens"
        head += f", {sum(lengths.tokens) / sum(seconds):.2f} {named} a second"
    longest = max(b.hours for b in bins)
    lines = [head, "", f"{'seconds':>13}{'utterances':>12}{'hours':>10}"]
    for b in bins:
        bar = "#" * round(_BAR * b.hours / longest)
        span = f"{b.low:g} to {b.high:g}"
        lines.append(f"{span:>13}{b.utterances:>12,}{b.hours:>10.2f}  {bar}".rstrip())
    lines += ["", f"{'padding':<24}{'encoder':>9}{'decoder':>9}{'steps':>9}{'left out':>10}"]
    for way in ways:
        decoder = "-" if way.decoder is None else f"{way.decoder:.1%}"
        steps = "-" if way.steps is None else f"{way.steps:,}"
        lines.append(f"{way.name:<24}{way.encoder:>9.1%}{decoder:>9}{steps:>9}{way.left_out:>10,}")
    return "\n".join(lines)


def as_object(lengths: Lengths, bins: "list[Bin]", ways: "list[Padding]") -> str:
    """Return the same as a JSON object in one line."""
    return json.dumps(
        {
            "utterances": len(lengths.durations),
            "seconds": sum(lengths.durations),
            "tokens": sum(lengths.tokens),
            "histogram": [b._asdict() for b in bins],
            "padding": [way._asdict() for way in ways],
        },
        ensure_ascii=False,
    )


def draw(bins: "list[Bin]", ways: "list[Padding]") -> "Figure":
    """Draw the hours of each duration, and the padding of each way to make batches."""
    from echoic.audio.plot import new_figure, tidy

    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    widths = [b.high - b.low for b in bins]
    left.bar([b.low for b in bins], [b.hours for b in bins], widths, align="edge", color="#2f6f9f")
    left.set(xlabel="Duration (s)", ylabel="Hours")
    places = range(len(ways))
    right.barh(places, [100 * w.encoder for w in ways], -0.4, align="edge", label="encoder")
    right.barh(places, [100 * (w.decoder or 0) for w in ways], 0.4, align="edge", label="decoder")
    right.set_yticks(places, [w.name for w in ways])
    right.invert_yaxis()
    right.set(xlabel="Padding (%)", xlim=(0, 100))
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        tidy(axes)
    return figure

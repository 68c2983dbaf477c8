"""The command `data shard`: a manifest and its recordings as tar files in WebDataset's form."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoic.audio.errors import one_line
from echoic.recipes.data.failing import FAILED, WRONG_USAGE, fail

if TYPE_CHECKING:
    from echoic.audio.data.manifest import Source

_CODECS = ("flac", "opus", "keep")


def add(group: typer.Typer) -> None:
    """Add the command to the group `data`."""
    group.command(
        epilog="Shards are NAME-000000.tar and so on; each utterance is KEY.flac and KEY.json. "
        "Exit code: 0 done, 1 failed or something was left out, 2 wrong usage."
    )(shard)


def shard(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST[,split=NAME][,lang=NAME]", help="JSON Lines.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="The folder of the shards.")],
    codec: Annotated[
        str, typer.Option(metavar="|".join(_CODECS), help="Of the sound; keep copies files.")
    ] = "flac",
    count: Annotated[int, typer.Option(min=1, help="Utterances in a shard.")] = 1000,
    megabytes: Annotated[
        float | None, typer.Option(min=1e-3, help="A shard is no longer than that.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(min=1, metavar="HZ", help="Resample to; else as it is.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the shards' names begin with; else the manifest's.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and list it.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the shards of that name in OUT_DIR.")
    ] = False,
) -> None:
    """Put utterances into tar files, to be read as a stream from a disk or a network."""
    from echoic.audio.data.manifest import Source

    if codec not in _CODECS:
        raise typer.BadParameter(f"--codec is {codec!r}, expected one of {', '.join(_CODECS)}")
    try:
        source = Source.parse(manifest)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    path = Path(source.path)
    name = name or path.name.partition(".")[0]
    old = sorted(out.glob(f"{name}-??????.tar"))
    if old and not overwrite:
        typer.echo(f"echoic: {one_line(str(old[0]))} is there; use --overwrite", err=True)
        raise typer.Exit(WRONG_USAGE)
    bad: list[str] = []
    limit = None if megabytes is None else round(megabytes * 1e6)
    try:
        shards, written = _write(
            source, out, name, codec, count, limit, sample_rate, bad if skip_bad else None
        )
        for shard in set(old).difference(shards):
            shard.unlink()
    except (OSError, ValueError) as e:
        raise fail(e, path) from e
    typer.echo(f"{one_line(str(out))}: {written} utterances in {len(shards)} shards")
    for line in bad:
        typer.echo(f"echoic: left out: {line}", err=True)
    if bad:
        raise typer.Exit(FAILED)


def _write(
    source: "Source",
    out: Path,
    name: str,
    codec: str,
    count: int,
    max_bytes: int | None,
    sample_rate: int | None,
    bad: list[str] | None,
) -> tuple[list[Path], int]:
    """Write the shards; return them, and how many utterances they hold."""
    import sys

    from tqdm import tqdm

    from echoic.audio.data.shard_rows import Codec, samples_of
    from echoic.audio.data.shards import ShardWriter

    written = 0
    samples = samples_of(source, Codec(codec), sample_rate, bad)
    with ShardWriter(out, name, count=count, max_bytes=max_bytes) as writer:
        for sample in tqdm(samples, unit=" utterances", disable=not sys.stderr.isatty()):
            writer.write(sample.key, sample.files)
            written += 1
    if not written:
        raise ValueError(f"{source.path} has no utterances that can be used; name another manifest")
    return writer.shards, written

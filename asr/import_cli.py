"""The commands `import carelesswhisper` and `import paraformer`: published models, made ours.

Nothing here imports torch before the command runs.
"""

from pathlib import Path
from typing import Annotated

import typer

from echoic.asr.batch.errors import UsageError, printable

FAILED, WRONG_USAGE = 1, 2

NOTE = (
    "CarelessWhisper's code is CC BY-NC 4.0 and the licence of its weights is not clear: "
    "for study, not for shipping"
)


def add(group: typer.Typer) -> None:
    """Add the commands to the group `import`."""
    group.command("carelesswhisper")(carelesswhisper)
    group.command("paraformer")(paraformer)


def carelesswhisper(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A published .pt or a training's .ckpt file.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder for the adapter, new or empty.")
    ],
    with_base: Annotated[
        bool, typer.Option("--with-base", help="Write the base model, too, to DST/base.")
    ] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder with the base model's tokenizer.json, for --with-base."),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Name of the base model; else found by its size.")
    ] = None,
    block_frames: Annotated[
        str | None,
        typer.Option(help="Sizes of the blocks, frames of 20 ms with commas; else the file's."),
    ] = None,
    first_block_frames: Annotated[
        int | None, typer.Option(min=1, help="Size of the first block; else the file's.")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Pass over tensors so named; may be repeated."),
    ] = None,
) -> None:
    """Turn a CarelessWhisper (WhisperRT) checkpoint into an adapter folder.

    The folder is peft's: adapter_config.json, adapter_model.safetensors and, with the sizes of the
    blocks, echoic_streaming.json. No code from the file is run.
    """
    from echoic.asr.upstream.carelesswhisper import import_carelesswhisper

    try:
        done = import_carelesswhisper(
            source,
            folder,
            block_frames=_frames(block_frames),
            first_block_frames=first_block_frames,
            base_model=base_model,
            with_base=with_base,
            tokenizer=tokenizer,
            ignore=ignore or (),
        )
    except (UsageError, FileNotFoundError, FileExistsError) as e:
        raise _failed(e, WRONG_USAGE) from e
    except (ValueError, OSError) as e:
        raise _failed(e, FAILED) from e
    sizes = [20 * frames for frames in done.streaming.block_frames]
    blocks = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    typer.echo(
        f"{printable(str(done.folder))}: {done.num_parameters:,} weights of rank {done.config.r} "
        f"for {done.config.base_model}, blocks of {blocks} ms"
    )
    typer.echo(f"echoic: {NOTE}", err=True)


def paraformer(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of a FunASR model.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder for the model, new or empty.")
    ],
) -> None:
    """Turn a FunASR Paraformer into a folder of ours.

    SRC holds model.pt, config.yaml, am.mvn and tokens.json. No code from it is run.
    """
    from echoic.asr.upstream.paraformer import import_paraformer

    try:
        done = import_paraformer(source, folder)
    except (FileNotFoundError, FileExistsError) as e:
        raise _failed(e, WRONG_USAGE) from e
    except (ValueError, OSError) as e:
        raise _failed(e, FAILED) from e
    config = done.model.config
    typer.echo(
        f"{printable(str(done.folder))}: {done.num_parameters:,} weights, {config.vocab_size:,} "
        f"tokens, {config.encoder.layers} + {config.decoder.layers} layers of {config.encoder.dim}"
    )
    if done.left_out:
        typer.echo(f"echoic: left out: {'; '.join(done.left_out)}", err=True)


def _frames(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--block-frames is {text!r}; expected numbers such as 15 or 5,10,50")
    return sorted({int(part) for part in parts})


def _failed(error: Exception, code: int) -> typer.Exit:
    typer.echo(f"echoic: {printable(' '.join(str(error).split()))}", err=True)
    return typer.Exit(code)

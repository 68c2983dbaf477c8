"""The command `export onnx`: a Paraformer for other runtimes.

Nothing here imports torch before the command runs.
"""

from pathlib import Path
from typing import Annotated

import typer

from echoic.asr.batch.errors import printable

FAILED, WRONG_USAGE = 1, 2


def add(group: typer.Typer) -> None:
    """Add the command to the group `export`."""
    group.command("onnx")(onnx)


def onnx(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A Paraformer: name in the box, Hugging Face id or folder."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Folder to write, new or empty.")
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="Multiply in eight bits: a quarter of the size.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder with files in it, too.")
    ] = False,
) -> None:
    """Write a Paraformer as ONNX: model.onnx, config.json and tokens.json.

    From features to scores and times of all tokens, for whole utterances; metadata in model.onnx
    tell how features are made. Needs the extra onnx.
    """
    from echoic.asr.paraformer.model import Paraformer
    from echoic.asr.paraformer.onnx.export import check_folder, export_onnx

    try:
        check_folder(folder, overwrite=overwrite)
    except FileExistsError as e:
        raise _failed(e, WRONG_USAGE) from e
    try:
        loaded = Paraformer.from_pretrained(model)
        about = f"Paraformer {Path(model).name}, as ONNX"
        path = export_onnx(loaded, folder, int8=int8, overwrite=overwrite, description=about)
    except (ValueError, OSError, ImportError) as e:
        raise _failed(e, FAILED) from e
    weights = sum(p.numel() for p in loaded.parameters())
    typer.echo(
        f"{printable(str(path))}: {path.stat().st_size / 1e6:.1f} MB, {weights:,} weights, "
        f"{loaded.config.vocab_size:,} tokens"
    )


def _failed(error: Exception, code: int) -> typer.Exit:
    typer.echo(f"echoic: {printable(' '.join(str(error).split()))}", err=True)
    return typer.Exit(code)

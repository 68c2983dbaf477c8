"""The verb `ext`: build the compiled kernels ahead of their first use.

Nothing here imports torch before a command runs.
"""

import time
from typing import Annotated, Literal

import typer

extension = typer.Typer(
    no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)


def register(app: typer.Typer) -> None:
    """Add the verb `ext` to the command line."""
    app.add_typer(extension, name="ext")


@extension.callback()
def ext() -> None:
    """Build the compiled kernels."""


@extension.command("build")
def build(
    device: Annotated[
        Literal["auto", "cpu", "cuda", "all"],
        typer.Option(help="auto: the processor, and CUDA where a device is."),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
) -> None:
    """Build the kernels of this machine, and print where they are."""
    import torch

    from echoic.cuda_ext.build import Device, ExtensionUnavailable, plan_for
    from echoic.cuda_ext.build import build as build_library

    cuda = device in ("cuda", "all") or (device == "auto" and torch.cuda.is_available())
    devices: list[Device] = []
    if device != "cuda":
        devices.append("cpu")
    if cuda:
        devices.append("cuda")
    failed = False
    for one in devices:
        start = time.perf_counter()
        try:
            path = build_library(plan_for(one), force=force)
        except ExtensionUnavailable as error:
            typer.echo(f"echoic: {one}: {error}", err=True)
            failed = True
            continue
        typer.echo(f"{one}: {time.perf_counter() - start:.1f} s", err=True)
        typer.echo(str(path))
    if failed:
        raise typer.Exit(1)

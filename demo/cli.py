"""The verb `demo`. Nothing here imports Gradio or torch before the command runs."""

import importlib.util
import os
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from echoic.streaming.recognizer import Recognizer

FAILED, WRONG_USAGE = 1, 2
NO_GRADIO = "echoic: the demo needs Gradio: pip install 'echoic[demo]'"
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class Policy(StrEnum):
    """When a word is shown: by a model that was trained to stream, or by one that was not."""

    CAUSAL = "causal"
    AGREEMENT = "agreement"
    ALIGNATT = "alignatt"


def register(app: typer.Typer) -> None:
    """Add the verb `demo` to the command line."""
    app.command("demo")(demo)


def demo(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other computers in.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="Port; else a free one from 7860 on.", min=1, max=65535),
    ] = None,
    share: Annotated[
        bool, typer.Option(help="Make a public address; the sound goes through Gradio's servers.")
    ] = False,
    chunk_ms: Annotated[
        int | None,
        typer.Option(
            help="Milliseconds of sound heard at once; 320, or 1000 but for causal.",
            min=40,
            max=30000,
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name in the box, model id or folder.")
    ] = "tiny.en",
    policy: Annotated[
        Policy, typer.Option(help="causal needs an adapter; the others take any Whisper.")
    ] = Policy.CAUSAL,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Show the models at work in the browser.

    Live captions, transcripts of files, codecs and speech.
    """
    if importlib.util.find_spec("gradio") is None:
        typer.echo(NO_GRADIO, err=True)
        raise typer.Exit(FAILED)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported
    from echoic.asr.whisper.streaming.load import DEFAULT_CHUNK_MS
    from echoic.demo.hub import CHUNK_CHOICES, LiveHub

    chosen = DEFAULT_CHUNK_MS[policy.value] if chunk_ms is None else chunk_ms
    choices = tuple(sorted({chosen, *CHUNK_CHOICES}))

    def load(milliseconds: int) -> "Recognizer[Any]":
        return load_recognizer(model, policy=policy.value, chunk_ms=milliseconds, device=device)

    hub = LiveHub(load, chunk_choices=choices)
    typer.echo(f"echoic: loading {model}", err=True)
    try:
        hub.prepare(chosen)
    except (ValueError, OSError) as e:
        typer.echo(f"echoic: {e}", err=True)
        raise typer.Exit(WRONG_USAGE) from e
    try:
        serve(
            hub,
            chosen,
            model=model,
            device=device,
            host=host,
            port=port,
            share=share,
            browser=browser,
        )
    except OSError as e:
        where = host if port is None else f"{host}:{port}"
        reason = str(e).split(".")[0]  # what Gradio says after it is about its own options
        typer.echo(f"echoic: cannot serve at {where}: {reason}; give another --port", err=True)
        raise typer.Exit(FAILED) from e


def load_recognizer(model: str, **settings: Any) -> "Recognizer[Any]":
    """Load a recogniser; this is where torch comes in."""
    from echoic.asr.recognizers import load_live

    return load_live(model, **settings).recognizer


def serve(
    hub: Any,
    chunk_ms: int,
    *,
    model: str,
    device: str,
    host: str,
    port: int | None,
    share: bool,
    browser: bool,
) -> None:
    """Show the page until the server is stopped; this is where Gradio comes in.

    Models of the other tabs are loaded when those are first used.
    """
    from echoic.demo.app import Server, build_app, launch
    from echoic.demo.everything import everything

    shown = everything(hub, chunk_ms, model=model, device=device)
    page = build_app(shown.tabs, is_local=host in _LOCAL_HOSTS and not share)
    address = launch(page, shown.tabs, Server(host, port, share=share, browser=browser))
    typer.echo(f"echoic: the page is at {address} (Ctrl-C ends)", err=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        page.close(verbose=False)
    finally:
        shown.close()

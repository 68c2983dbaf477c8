"""The verb `serve`: live streams, recordings and speech for other programs.

Nothing here imports torch before the command runs.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from echoic.streaming.server.config import ServerConfig
    from echoic.streaming.server.models import Catalog

FAILED, WRONG_USAGE = 1, 2
NO_SERVER = "echoic: serving needs FastAPI and uvicorn: pip install 'echoic[serve]'"
NOTHING = "none"
_NEEDED = ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")

MODELS, ADDRESS, SESSIONS, LIMITS, RUNNING = "Models", "Address", "Sessions", "Limits", "Running"


def _option(help: str, panel: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def register(app: typer.Typer) -> None:
    """Add the verb `serve` to the command line."""
    app.command(
        "serve",
        epilog="Over HTTP and WebSocket, as OpenAI's clients call it, and at / for the browser. "
        "Keys: one in $ECHOIC_API_KEY, more in --api-key-file; without any, all who reach "
        "the address may call. Ctrl-C or SIGTERM ends, and loses no live session with "
        "--state-dir. Exit code: 0 ended, 1 failed, 2 wrong usage, 130 interrupted.",
    )(serve)


def serve(
    model: Annotated[
        str, _option("Of recordings: name, id, folder, or none.", MODELS, "--model", "-m")
    ] = "tiny.en",
    live_model: Annotated[
        str | None, _option("Of live streams; else the same, or none.", MODELS)
    ] = None,
    policy: Annotated[str, _option("Of a live Whisper: causal, agreement, alignatt.", MODELS)] = (
        "causal"
    ),
    adapter: Annotated[
        list[str] | None,
        _option(
            "LoRA adapter of the live model that streams choose as a model; can be given again.",
            MODELS,
            metavar="NAME=FOLDER",
        ),
    ] = None,
    chunk_ms: Annotated[float | None, _option("Sound of a live stream heard at once.", MODELS)] = (
        None
    ),
    talker: Annotated[
        str | None, _option("That speaks: name, id, folder, or none.", MODELS, show_default=False)
    ] = None,
    host: Annotated[str, _option("0.0.0.0 lets other computers in.", ADDRESS)] = "127.0.0.1",
    port: Annotated[int, _option("0 for a free one.", ADDRESS, min=0, max=65535)] = 8000,
    api_key_file: Annotated[
        Path | None, _option("Keys, one a line.", ADDRESS, metavar="FILE")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, _option("Web page that may call; can be given again.", ADDRESS)
    ] = None,
    allow_host: Annotated[
        list[str] | None, _option("Name that a proxy on this computer has.", ADDRESS)
    ] = None,
    state_dir: Annotated[
        Path | None, _option("Folder of live sessions: they outlive a restart.", SESSIONS)
    ] = None,
    resume_seconds: Annotated[
        float, _option("A session waits so long for its client.", SESSIONS, min=0)
    ] = 60.0,
    idle_seconds: Annotated[
        float, _option("Silent sockets are closed after so long.", SESSIONS, min=1)
    ] = 30.0,
    max_streams: Annotated[int, _option("Live streams, if they fit.", LIMITS, min=1)] = 256,
    max_upload_mb: Annotated[int, _option("Of one request.", LIMITS, min=1)] = 200,
    max_minutes: Annotated[float, _option("Of a recording or stream.", LIMITS, min=0.1)] = 240.0,
    requests_per_minute: Annotated[int, _option("Of one client.", LIMITS, min=1)] = 1200,
    device: Annotated[str, _option("auto, cpu, cuda or cuda:1.", RUNNING)] = "auto",
    dtype: Annotated[
        str, _option("auto, float32, bfloat16, float16, int16x8, int8.", RUNNING)
    ] = "auto",
    threads: Annotated[int | None, _option("CPU threads.", RUNNING, min=1)] = None,
    quiet: Annotated[bool, _option("Problems only.", RUNNING, "--quiet", "-q")] = False,
) -> None:
    """Serve streams, recordings and speech to programs."""
    if not all(importlib.util.find_spec(name) for name in _NEEDED):
        typer.echo(NO_SERVER, err=True)
        raise typer.Exit(FAILED)

    def note(text: str) -> None:
        if not quiet:
            typer.echo(f"echoic: {text}", err=True)

    from echoic.streaming.server.config import ServerConfig
    from echoic.streaming.server.keys import Keys

    try:
        config = ServerConfig(
            host=host,
            port=port,
            allow_origins=tuple(allow_origin or ()),
            allow_hosts=tuple(allow_host or ()),
            state_dir=state_dir,
            resume_seconds=resume_seconds,
            idle_seconds=idle_seconds,
            max_upload_bytes=max_upload_mb << 20,
            max_file_seconds=60 * max_minutes,
            max_stream_seconds=60 * max_minutes,
            requests_per_minute=requests_per_minute,
        )
        keys = Keys.read(api_key_file)
        catalog = load_catalog(
            model,
            model if live_model is None else live_model,
            talker,
            note,
            policy=policy,
            chunk_ms=chunk_ms,
            device=device,
            dtype=dtype,
            threads=threads,
            adapters=named_folders(adapter or ()),
        )
    except (ValueError, OSError) as e:
        typer.echo(f"echoic: {e}", err=True)
        raise typer.Exit(WRONG_USAGE) from e
    if not keys and not _is_local(host):
        note("no key is set, so all who reach this address may call: set $ECHOIC_API_KEY")
    try:
        run_server(catalog, config, keys, max_streams, note)
    except OSError as e:
        typer.echo(f"echoic: cannot serve at {host}:{port}: {e}; give another --port", err=True)
        raise typer.Exit(FAILED) from e


def named_folders(given: Iterable[str]) -> dict[str, str]:
    """Return folders by name, of `NAME=FOLDER` each.

    Raises:
        ValueError: another form, or a name twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise ValueError(f"--adapter {text}: expected NAME=FOLDER")
        if name in found:
            raise ValueError(f"--adapter {name} is given twice: choose another name")
        found[name] = folder
    return found


def load_catalog(
    model: str,
    live: str,
    talker: str | None,
    note: Any,
    *,
    policy: str,
    chunk_ms: float | None,
    device: str,
    dtype: str,
    threads: int | None,
    adapters: dict[str, str],
) -> "Catalog":
    """Load what is to be served; this is where torch comes in.

    Raises:
        ValueError, OSError: a model that is not there, or cannot be served so.
    """
    from echoic.asr.serving import ServedTranscriber, live_models
    from echoic.streaming.server.models import Catalog
    from echoic.tts.box import DEFAULT

    recordings, streams, speakers = [], [], []
    if model != NOTHING:
        note(f"loading {model} for recordings")
        recordings.append(
            ServedTranscriber.load(model, device=device, dtype=dtype, threads=threads)
        )
    if live != NOTHING:
        note(f"loading {live} for live streams")
        settings = {"policy": policy, "chunk_ms": chunk_ms, "device": device, "dtype": dtype}
        streams += live_models(live, adapters=adapters, **settings)
    if talker != NOTHING:
        from echoic.tts.errors import TtsError
        from echoic.tts.serving import ServedTalker

        note(f"loading {talker or DEFAULT} for speech")
        try:
            speakers.append(ServedTalker.load(talker or DEFAULT))
        except TtsError as e:
            if talker is not None:
                raise
            note(f"no speech is served: {e}")
    if not (recordings or streams or speakers):
        raise ValueError("nothing is to be served: give a --model, --live-model or --talker")
    return Catalog(tuple(streams), tuple(recordings), tuple(speakers))


def run_server(
    catalog: "Catalog", config: "ServerConfig", keys: Any, max_streams: int, note: Any
) -> None:
    """Serve until the process is told to end."""
    from echoic.audio.silero import SileroVad
    from echoic.streaming.admission import AdmissionConfig
    from echoic.streaming.scheduler import Scheduler, SchedulerConfig
    from echoic.streaming.server.app import Server
    from echoic.streaming.server.running import run

    vad = SileroVad.from_installed()
    admission = AdmissionConfig(max_streams=max_streams)
    scheduler = Scheduler(SchedulerConfig(admission=admission), vad=vad)
    try:
        server = Server(catalog, scheduler, config, keys, vad=vad)
        run(server, lambda address: note(f"serving at {address} (Ctrl-C ends)"))
    finally:
        scheduler.close()


def _is_local(host: str) -> bool:
    from echoic.streaming.server.guard import is_loopback

    return is_loopback(host)

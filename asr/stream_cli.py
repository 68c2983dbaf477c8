"""The verb `stream`, and `stream eval` behind it.

Nothing here imports torch before a command runs.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.job import ALL_DONE, SOME_FAILED, WRONG_USAGE
from echoic.asr.command_line import (
    DEFAULT_MODEL,
    LANGUAGE_ADAPTER,
    DType,
    Policy,
    option,
    spelling,
)
from echoic.asr.live.request import LiveRequest, RawFormat

if TYPE_CHECKING:
    from echoic.streaming.recognizer import Recognizer

EVAL = "eval"

# Underscores are read as hyphens as well.
ALIASES = {"compute-type": "dtype"}

EPILOG = (
    "On a terminal the text appears as it is spoken, dim as long as it may change; elsewhere each "
    "finished stretch is a line. `echoic stream eval MANIFEST` measures errors and delays. "
    "Exit code: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."
)

SOUND, RECOGNITION, OUTPUT, RUNNING = "Sound", "Recognition", "Output", "Running"


class StreamCommand(TyperCommand):
    """`stream`, or `stream eval` where that is the first word; a file of that name is ./eval."""

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Read the words of the command that is meant."""
        if args[:1] == [EVAL]:
            command: Any = evaluation()
            return command.make_context(f"{info_name} {EVAL}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def register(app: typer.Typer) -> None:
    """Add the verb `stream` to the command line."""
    settings = {"token_normalize_func": spelling(ALIASES)}
    app.command("stream", cls=StreamCommand, context_settings=settings, epilog=EPILOG)(stream)


def evaluation() -> Any:
    """Return the command `stream eval`."""
    from echoic.asr.stream_eval_cli import evaluate_command

    app = typer.Typer(add_completion=False)
    settings = {
        "token_normalize_func": spelling(ALIASES),
        "help_option_names": ["-h", "--help"],
    }
    app.command(EVAL, context_settings=settings)(evaluate_command)
    return typer.main.get_command(app)


def stream(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|-|mic",
            help="A recording, sound on standard input, or the microphone.",
            show_default=False,
        ),
    ] = None,
    realtime: Annotated[
        bool, option("Hear a file at the speed of the clock, as if it were spoken now.", SOUND)
    ] = False,
    raw: Annotated[
        str | None,
        option(
            "Samples without a header: format and rate, such as s16le:16000.",
            SOUND,
            metavar="FORMAT:RATE[:CHANNELS]",
        ),
    ] = None,
    input_device: Annotated[
        str | None, option("Microphone, by its number or a part of its name.", SOUND)
    ] = None,
    list_devices: Annotated[bool, option("List microphones and end.", SOUND, "--list-devices")] = (
        False
    ),
    model: Annotated[
        str, option("Name in the box, model id or folder.", RECOGNITION, "--model", "-m")
    ] = DEFAULT_MODEL,
    policy: Annotated[
        Policy, option("Of Whisper: causal if trained to stream, others for any.", RECOGNITION)
    ] = Policy.CAUSAL,
    chunk_ms: Annotated[
        float | None,
        option(
            "Sound heard at once; causal 320, agreement and alignatt 1000, Paraformer its own.",
            RECOGNITION,
        ),
    ] = None,
    language: Annotated[str | None, option("Spoken language, such as en.", RECOGNITION)] = None,
    language_adapter: Annotated[
        list[str] | None, option(LANGUAGE_ADAPTER, RECOGNITION, metavar="DIR")
    ] = None,
    beam_size: Annotated[int, option("Hypotheses kept; 1 is greedy.", RECOGNITION, min=1)] = 1,
    hotwords: Annotated[
        str | None, option("Words to expect, with commas between; Paraformer.", RECOGNITION)
    ] = None,
    ngram_weight: Annotated[
        float | None, option("Of a Paraformer's n-grams; 0 leaves them out.", RECOGNITION, min=0)
    ] = None,
    vad: Annotated[bool, option("Keep silence from the model.", RECOGNITION)] = True,
    endpoint_ms: Annotated[float, option("Silence that ends an utterance.", RECOGNITION)] = 800.0,
    json_lines: Annotated[
        bool, option("Print each event as a line of JSON.", OUTPUT, "--json")
    ] = False,
    quiet: Annotated[
        bool, option("Results and problems only.", OUTPUT, "--quiet/--no-quiet", "-q")
    ] = False,
    device: Annotated[str, option("auto, cpu, cuda or cuda:1.", RUNNING)] = "auto",
    dtype: Annotated[DType, option("Number type of the weights.", RUNNING)] = DType.AUTO,
    threads: Annotated[int | None, option("CPU threads.", RUNNING, min=1)] = None,
    debug: Annotated[bool, option("Print where errors come from.", RUNNING)] = False,
) -> None:
    """Transcribe sound while it is spoken."""
    if list_devices:
        raise typer.Exit(print_devices())
    try:
        if source is None:
            raise UsageError("no input; name a file, - for standard input, or mic")
        request = LiveRequest(
            source=source,
            json_lines=json_lines,
            realtime=realtime,
            raw=None if raw is None else RawFormat.parse(raw),
            input_device=_device(input_device),
            vad=vad,
            endpoint_ms=endpoint_ms,
            threads=threads,
            quiet=quiet,
            debug=debug,
        )
    except UsageError as e:
        typer.echo(f"echoic: {e}", err=True)
        raise typer.Exit(WRONG_USAGE) from e
    settings = {
        "policy": policy.value,
        "chunk_ms": chunk_ms,
        "device": device,
        "dtype": dtype.value,
        "language": language,
        "beam_size": beam_size,
        "hotwords": hotwords,
        **({"language_adapters": tuple(language_adapter)} if language_adapter else {}),
        **({} if ngram_weight is None else {"ngram_weight": ngram_weight}),
    }
    from echoic.asr.live.job import run_live

    raise typer.Exit(run_live(request, lambda: load(model, **settings)))


def load(model: str, **settings: Any) -> "Recognizer[Any]":
    """Load a recogniser; see `load_live`. This is where torch comes in."""
    from echoic.asr.recognizers import load_live

    return load_live(model, **settings).recognizer


def print_devices() -> int:
    """Print the microphones, number and name a line; return the exit code."""
    from echoic.audio.devices import AudioDeviceError, list_devices

    try:
        found = [device for device in list_devices() if device.input_channels]
    except AudioDeviceError as e:
        typer.echo(f"echoic: {e}", err=True)
        return SOME_FAILED
    for device in found:
        typer.echo(f"{device.index:>3}  {device.name}  ({device.sample_rate} Hz)")
    if not found:
        typer.echo("echoic: there is no microphone; connect one", err=True)
    return ALL_DONE


def _device(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text

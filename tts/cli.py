"""The verbs `speak` and `voice`: text to sound, and recordings to voices.

Nothing here imports torch before a command runs.
"""

from typing import Annotated, Any

import typer

from echoic.tts.box import DEFAULT

voice = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

_CODES = "Exit code: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."

INPUT, VOICE, OUTPUT, RUNNING = "Input", "Voice", "Output", "Running"


def _option(help: str, panel: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


Model = Annotated[str, _option("Talker: name, folder or hub id.", VOICE, "--model", "-m")]
Device = Annotated[str, _option("cpu, cuda or cuda:1.", RUNNING)]
Overwrite = Annotated[bool, _option("Replace what is there.", OUTPUT, "--overwrite")]
Quiet = Annotated[bool, _option("Results and problems only.", RUNNING, "--quiet", "-q")]
Debug = Annotated[bool, _option("Print where errors come from.", RUNNING, "--debug")]


def register(app: typer.Typer) -> None:
    """Add the verbs `speak` and `voice` to the command line."""
    app.command(
        "speak",
        epilog="Without TEXT, standard input is spoken as it comes, sentence by sentence. With "
        "--raw the samples go to standard output while they are generated: s16le, mono, at the "
        f"rate that is told on standard error. {_CODES}",
    )(speak)
    app.add_typer(voice, name="voice")


def speak(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What to say.")] = None,
    model: Model = DEFAULT,
    output: Annotated[
        str | None, _option("wav, flac, ogg, opus or mp3, or - for WAV.", OUTPUT, "--output", "-o")
    ] = None,
    raw: Annotated[bool, _option("Bare samples to standard output.", OUTPUT, "--raw")] = False,
    timestamps: Annotated[
        str | None, _option("Sentences and words with their times to FILE, .json or .srt.", OUTPUT)
    ] = None,
    flow: Annotated[
        str | None, _option("Flow decoder that makes the sound, not the codec.", VOICE)
    ] = None,
    voice_file: Annotated[
        str | None, _option("A .voice file, or a name the talker knows.", VOICE, "--voice")
    ] = None,
    seed: Annotated[int, _option("The same one says the same.", VOICE)] = 0,
    temperature: Annotated[
        float | None, _option("Higher is livelier, 0 always the likeliest.", VOICE)
    ] = None,
    device: Device = "cpu",
    dtype: Annotated[
        str, _option("auto, float32, bfloat16 or int8: arithmetic of the talker.", RUNNING)
    ] = "auto",
    threads: Annotated[
        int, _option("Of the processor; small talkers are fastest with one.", RUNNING, min=1)
    ] = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Read text aloud."""

    def work(console: Any, check: Any) -> int:
        from echoic.tts.jobs.speaking import SpeakRequest, speak

        request = SpeakRequest(
            text=text,
            model=model,
            output=output,
            raw=raw,
            timestamps=timestamps,
            voice=voice_file,
            flow=flow,
            seed=seed,
            temperature=temperature,
            device=device,
            dtype=dtype,
            threads=threads,
            overwrite=overwrite,
        )
        return speak(request, console, check)

    _run(work, quiet, debug)


@voice.callback()
def voice_() -> None:
    """Make voices of recordings, or show what is in one."""


@voice.command(epilog=_CODES)
def make(
    recording: Annotated[str, typer.Argument(metavar="REF.wav", help="Ten seconds of speech.")],
    text: Annotated[str, _option("What the recording says, word by word.", INPUT, "--text")],
    output: Annotated[str, _option("The .voice file.", OUTPUT, "--output", "-o")],
    model: Model = DEFAULT,
    name: Annotated[str, _option("What to call it.", VOICE)] = "",
    licence: Annotated[str, _option("Of the recording.", VOICE, "--licence", "--license")] = "",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a .voice file of a recording."""

    def work(console: Any, check: Any) -> int:
        from echoic.tts.jobs.voices import MakeRequest, make

        request = MakeRequest(recording, text, output, model, name, licence, overwrite)
        return make(request, console)

    _run(work, quiet, debug)


@voice.command(epilog=_CODES)
def show(
    file: Annotated[str, typer.Argument(metavar="FILE.voice", help="The voice.")],
    debug: Debug = False,
) -> None:
    """Print what is in a .voice file, as JSON."""

    def work(console: Any, check: Any) -> int:
        from echoic.tts.jobs.voices import show

        return show(file)

    _run(work, False, debug)


def _run(work: Any, quiet: bool, debug: bool) -> None:
    from echoic.codecs.jobs.running import run_job

    raise typer.Exit(run_job(work, quiet=quiet, debug=debug))

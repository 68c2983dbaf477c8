"""The verb `tts`: what a talker is worth, by what it says.

Nothing here imports torch before a command runs.
"""

from typing import Annotated, Any

import typer

from echoic.tts.box import DEFAULT

tts = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

INPUT, TALKER, OUTPUT, RUNNING = "Input", "Talker", "Output", "Running"


def _option(help: str, panel: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def register(app: typer.Typer) -> None:
    """Add the verb `tts` to the command line."""
    app.add_typer(tts, name="tts")


@tts.callback()
def tts_() -> None:
    """Judge a talker by what it says."""


@tts.command(
    "eval",
    epilog="Each sentence is spoken as `echoic speak --seed` would and written down by the "
    "recogniser. Where the manifest has recordings, their own errors and those of the talker's "
    "codec stand beside: the codec's are the ceiling. MOS and speaker cosine are computed where "
    "their packages are installed. What fails is told and counted. Exit code: 0 all done, 1 "
    "something failed, 2 wrong usage, 130 interrupted.",
)
def evaluate(
    texts: Annotated[
        str,
        typer.Argument(
            metavar="TEXTS",
            help="A .txt with a sentence a line, or a manifest (.jsonl) with text, and audio "
            "where there are recordings.",
        ),
    ],
    model: Annotated[
        str, _option("Talker: name, folder or hub id.", TALKER, "--model", "-m")
    ] = DEFAULT,
    recognizer: Annotated[
        str, _option("Whisper that listens: name in the box, id or folder.", RUNNING)
    ] = "tiny.en",
    voice_file: Annotated[
        str | None, _option("A .voice file, or a name the talker knows.", TALKER, "--voice")
    ] = None,
    seed: Annotated[int, _option("Of every sentence.", TALKER)] = 0,
    limit: Annotated[int | None, _option("Take the first N sentences.", INPUT, min=1)] = None,
    json_file: Annotated[
        str | None, _option("Write JSON to FILE; - prints it.", OUTPUT, "--json", metavar="FILE")
    ] = None,
    audio: Annotated[
        str | None, _option("Keep what was said in a new folder.", OUTPUT, metavar="DIR")
    ] = None,
    threads: Annotated[
        int, _option("Of the processor; small talkers are fastest with one.", RUNNING, min=1)
    ] = 1,
    device: Annotated[str, _option("cpu, cuda or cuda:1.", RUNNING)] = "cpu",
    quiet: Annotated[bool, _option("Results and problems only.", RUNNING, "--quiet", "-q")] = False,
    debug: Annotated[bool, _option("Print where errors come from.", RUNNING, "--debug")] = False,
) -> None:
    """Measure what is understood of a talker, how soon it speaks, and whether it ends."""

    def work(console: Any, check: Any) -> int:
        from echoic.recipes.speech_eval.job import EvalRequest, evaluate_talker

        request = EvalRequest(
            texts=texts,
            model=model,
            recognizer=recognizer,
            voice=voice_file,
            seed=seed,
            limit=limit,
            json_file=json_file,
            audio=audio,
            threads=threads,
            device=device,
            debug=debug,
        )
        return evaluate_talker(request, console, check)

    from echoic.codecs.jobs.running import run_job

    raise typer.Exit(run_job(work, quiet=quiet, debug=debug))

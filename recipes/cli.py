"""The `echoic` command: a table of verbs, each imported from the folder that owns it when called.

Nothing here imports torch, so `echoic --help` answers at once. A folder's `cli.py` has one function
`register(app)` that adds its verbs to the given Typer app.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, NamedTuple

import typer


class Verb(NamedTuple):
    """A line of the table: the module whose `register` adds the verb, and its one-line help."""

    module: str
    help: str


VERBS: dict[str, Verb] = {
    "transcribe": Verb("echoic.asr.cli", "Transcribe recordings, folders or manifests."),
    "stream": Verb("echoic.asr.stream_cli", "Transcribe sound while it is spoken."),
    "codec": Verb(
        "echoic.codecs.cli", "Code sound to small files and back, or measure what is lost."
    ),
    "speak": Verb("echoic.tts.cli", "Read text aloud."),
    "voice": Verb("echoic.tts.cli", "Make voices of recordings, or show what is in one."),
    "tts": Verb("echoic.recipes.speech_eval.command", "Judge a talker by what it says."),
    "models": Verb(
        "echoic.recipes.models", "List the models, codecs and talkers that come in the box."
    ),
    "prepare": Verb("echoic.recipes.prepare.cli", "Make manifests of data sets."),
    "data": Verb("echoic.recipes.data.cli", "Check, count and convert manifests of training data."),
    "train": Verb("echoic.recipes.train", "Train a model by a recipe."),
    "import": Verb("echoic.recipes.imports", "Import what others published."),
    "export": Verb("echoic.recipes.exports", "Export models for use elsewhere."),
    "demo": Verb("echoic.demo.cli", "Show the models at work in the browser."),
    "serve": Verb("echoic.streaming.cli", "Serve streams, recordings and speech to programs."),
    "ext": Verb("echoic.cuda_ext.cli", "Build the compiled kernels."),
    "env": Verb("echoic.recipes.env", "Print versions, devices and what is missing."),
}


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the app with the called verb in full and the others as lines of the help page."""
    app = typer.Typer(
        name="echoic",
        help="Speech and audio toolkit: recognition, codecs and synthesis.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    called = next((a for a in arguments if not a.startswith("-")), None)
    module = VERBS[called].module if called in VERBS else None
    if module is not None:
        importlib.import_module(module).register(app)
    for name, verb in VERBS.items():
        if verb.module != module:
            app.command(name, help=verb.help)(_placeholder(name))
    return app


def _placeholder(name: str) -> Callable[[], None]:
    def line_of_help() -> None:
        raise AssertionError(f"the verb {name!r} is imported before it is called")

    return line_of_help


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"echoic {version('echoic')}")
        raise typer.Exit


# The callback, not the body, prints: the body only runs once a verb was given.
def _root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: exit code 0 all done, 1 something failed, 2 wrong usage."""
    # Threads that wait for each other in a loop take the processor from those that work: three
    # times slower beside any other busy program. Read when torch is loaded, so set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    try:
        code = build_app(sys.argv[1:])(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        # Typer brings its own copy of click, or click itself, by its version: know them by form.
        tell = getattr(error, "format_message", None)
        if tell is None:
            raise
        message = " ".join(tell().split())
        if message:  # nothing to say where the help page was printed
            called = getattr(getattr(error, "ctx", None), "command_path", "echoic")
            typer.echo(f"echoic: {message.rstrip('.')}; see `{called} --help`", err=True)
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)

"""The verb `prepare`: manifests of data sets on the disk, or of speech that is made.

A data set is a module beside this one with a function `add(group)`; what it needs of torch and the
readers of sound is imported when it runs.
"""

from typing import Annotated

import typer

from echoic.recipes.prepare import (
    aishell,
    commonvoice,
    folder,
    librispeech,
    libritts,
    ljspeech,
    vctk,
)

prepare = typer.Typer(
    no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)


def register(app: typer.Typer) -> None:
    """Add the verb `prepare` to the command line."""
    app.add_typer(prepare, name="prepare")


@prepare.callback()
def prepare_() -> None:
    """Make manifests of data sets.

    A manifest is JSON Lines: audio, id, duration, text, lang, speaker, split.
    What is bad is passed over, told at the end, and makes the exit code 1.
    Stopped, and run again, it goes on where it was.
    """


for data_set in (aishell, commonvoice, folder, librispeech, libritts, ljspeech, vctk):
    data_set.add(prepare)


# All words are its own parser's, --help too.
_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@prepare.command(context_settings=_PASSED_ON)
def synthetic(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="OUT --text FILE [--voice ENGINE:NAME=HOURS]..."),
    ] = None,
) -> None:
    """Speech that installed voices read from any prose."""
    from echoic.recipes.prepare.synthetic import main

    if code := main(arguments or [], prog="echoic prepare synthetic"):
        raise typer.Exit(code)


@prepare.command("pseudo-labels", context_settings=_PASSED_ON)
def pseudo_labels(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="MANIFEST OUT --lang CODE --model TEACHER")
    ] = None,
) -> None:
    """Texts of recordings that have none, as a model hears them, where it is sure."""
    from echoic.recipes.prepare.pseudo_labels import main

    if code := main(arguments or [], prog="echoic prepare pseudo-labels"):
        raise typer.Exit(code)


@prepare.command("coded-speech", context_settings=_PASSED_ON)
def coded_speech(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="MANIFEST OUT [--codec NAME] [--g2p NAME]")
    ] = None,
) -> None:
    """Recordings as codes and texts as ids, for speech language models."""
    from echoic.recipes.prepare.coded_speech import main

    if code := main(arguments or [], prog="echoic prepare coded-speech"):
        raise typer.Exit(code)


@prepare.command("speech-preferences", context_settings=_PASSED_ON)
def speech_preferences(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="CORPUS MODEL OUT [--samples N]")
    ] = None,
) -> None:
    """Pairs of spoken answers, a better and a worse one, as a recogniser hears them."""
    from echoic.recipes.prepare.speech_preferences import main

    if code := main(arguments or [], prog="echoic prepare speech-preferences"):
        raise typer.Exit(code)


@prepare.command(context_settings=_PASSED_ON)
def interleaved(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="TEXTS OUT --model TALKER [--eta 0.3] [--span 10]")
    ] = None,
) -> None:
    """Texts with spans of words as codes, for language models that learn speech."""
    from echoic.recipes.prepare.interleaved import main

    if code := main(arguments or [], prog="echoic prepare interleaved"):
        raise typer.Exit(code)

"""`echoic codec eval`: what a codec loses on recordings, in a table and in JSON."""

import io
import json
import shutil
import sys
from dataclasses import dataclass

from rich.console import Console as Terminal

from echoic.audio.errors import one_line
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, SOME_FAILED, UsageError
from echoic.codecs.jobs.loading import check_n_q, load_named
from echoic.codecs.jobs.places import STDIO, check_output, open_output, print_text
from echoic.codecs.jobs.running import Check
from echoic.codecs.jobs.sounds import find_sounds
from echoic.codecs.metrics import Recording, evaluate
from echoic.codecs.metrics.report import Failure, Report, Row, notes, tables

# Where no terminal tells its width, tables need not be cut.
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """What to measure, and where results go.

    Attributes:
        inputs: recordings, folders and manifests.
        model: name of the codec.
        n_q: codes of a frame; None for all.
        limit: recordings at most.
        json_file: where JSON goes; "-" prints it in the place of the tables.
        device: where to compute.
    """

    inputs: tuple[str, ...]
    model: str
    n_q: int | None = None
    limit: int | None = None
    json_file: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UsageError("no input; name recordings, folders or manifests (.jsonl)")
        if STDIO in self.inputs:
            raise UsageError("standard input cannot be evaluated; name files")


def evaluate_codec(request: EvalRequest, console: Console, check: Check) -> int:
    """Do what was asked for; returns the exit code.

    Raises:
        UsageError: it makes no sense.
        OutputError: the JSON cannot be written.
    """
    if request.json_file not in (None, STDIO):
        for source in request.inputs:
            check_output(request.json_file, (), source=source, overwrite=True)
    sounds = find_sounds(request.inputs, manifests=True)[: request.limit]
    codec = load_named(request.model, request.device)
    check_n_q(codec, request.n_q)
    console.begin([lambda s=sound: s.duration for sound in sounds])

    def told(result: Row | Failure) -> None:
        if isinstance(result, Failure):
            message = one_line(result.message)
            mine = message.startswith(f"{one_line(result.name)}: ")
            console.problem(message if mine else f"{result.name}: {message}")
        else:
            console.advance(result.seconds)
        check()

    report = evaluate(
        codec,
        [Recording(sound.name, sound.path) for sound in sounds],
        model=request.model,
        n_q=request.n_q,
        told=told,
    )
    check()
    console.close()
    _write(request, report)
    if report.failures:
        console.problem(f"{len(report.rows)} measured, {len(report.failures)} failed")
    return SOME_FAILED if report.failures else ALL_DONE


def _write(request: EvalRequest, report: Report) -> None:
    if request.json_file is not None:
        text = json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
        with open_output(request.json_file) as file:
            file.write(text.encode())
    if request.json_file == STDIO or not report.rows:
        return
    shown = io.StringIO()
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else _WIDTH
    terminal = Terminal(file=shown, width=width, force_terminal=on_terminal)
    for table in tables(report):
        terminal.print(table)
    for line in notes(report):
        terminal.print(line, markup=False, highlight=False, soft_wrap=True)
    print_text(shown.getvalue())

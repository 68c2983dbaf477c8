"""`echoic codec eval`: what a codec loses on recordings, in a table and in JSON."""

from dataclasses import dataclass

from echoic.audio.errors import one_line
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, SOME_FAILED, UsageError
from echoic.codecs.jobs.loading import check_n_q, load_named
from echoic.codecs.jobs.places import STDIO, check_output
from echoic.codecs.jobs.reporting import write_report
from echoic.codecs.jobs.running import Check
from echoic.codecs.jobs.sounds import find_sounds
from echoic.codecs.metrics import Recording, evaluate
from echoic.codecs.metrics.report import Failure, Row, notes, tables


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
    # Without any row there is nothing to show.
    shown = tables(report) if report.rows else []
    write_report(request.json_file, report.to_dict(), shown, notes(report))
    if report.failures:
        console.problem(f"{len(report.rows)} measured, {len(report.failures)} failed")
    return SOME_FAILED if report.failures else ALL_DONE

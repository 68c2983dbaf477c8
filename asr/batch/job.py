"""One `echoic transcribe`, from what was typed to the exit code."""

import contextlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from echoic.asr.batch.console import Console
from echoic.asr.batch.engine import BatchTranscriber, Engine, Summary
from echoic.asr.batch.errors import OutputError, UsageError, describe, printable
from echoic.asr.batch.inputs import Finder, Listing, read_files_from
from echoic.asr.batch.journal import Journal
from echoic.asr.batch.naming import Shard
from echoic.asr.batch.notices import warnings_in_lines
from echoic.asr.batch.outputs import FolderSink, JsonLinesSink, Sink, TextSink
from echoic.asr.batch.resume import Target, digest, make_plan
from echoic.asr.batch.subtitles import Layout
from echoic.asr.batch.writers import parse_formats
from echoic.asr.source import STDIN, Source
from echoic.audio.interrupts import Interrupts, interrupts

ALL_DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
LISTED_FAILURES = 50

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class Request:
    """What to read and where to put it.

    Attributes:
        inputs: files, folders, patterns, manifests or "-".
        files_from: a file with more of them, one a line, or "-".
        output_dir: where files go; None prints results.
        formats: comma list; None is "all" for files and "txt" for the terminal.
        json_lines: print one JSON object a file.
        layout: how subtitles are cut.
        recursive: look into sub-folders.
        shard: the part of the inputs to do.
        overwrite: do finished files again, and replace files of others.
        batch_size: windows decoded together.
        quiet: only results and errors.
        fail_fast: stop at the first failure.
        debug: print tracebacks, and the warnings of libraries.
    """

    inputs: tuple[str, ...]
    files_from: str | None = None
    output_dir: str | None = None
    formats: str | None = None
    json_lines: bool = False
    layout: Layout = field(default_factory=Layout)
    recursive: bool = False
    shard: Shard | None = None
    overwrite: bool = False
    batch_size: int = 8
    quiet: bool = False
    fail_fast: bool = False
    debug: bool = False

    def __post_init__(self) -> None:
        if not self.inputs and self.files_from is None:
            raise UsageError("no input; name files, folders, patterns, a manifest.jsonl or '-'")
        if self.files_from == STDIN and STDIN in self.inputs:
            raise UsageError("'-' stands for the list and for the sound; standard input is one")
        if self.output_dir == "":
            raise UsageError("the output folder's name is empty; name it with -o DIR")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size is {self.batch_size}; it must be 1 or more")
        if self.output_dir is None and self.json_lines and self.formats is not None:
            raise UsageError("--json prints JSON lines; add -o DIR for files in other formats")
        if self.output_dir is None and len(self.format_names) > 1:
            raise UsageError(f"-f {self.formats} makes several files; say where with -o DIR")
        parse_formats(self.formats or "all")

    @property
    def format_names(self) -> tuple[str, ...]:
        """The formats to write."""
        return parse_formats(self.formats or ("txt" if self.output_dir is None else "all"))


@dataclass(frozen=True, slots=True)
class Model(Generic[Options]):
    """The recogniser, not loaded yet.

    Attributes:
        load: returns it; what it raises is told in one line.
        options: how to decode; a dataclass.
        shapes: what else shapes the text, such as the model's name and number type.
        suffixes: suffixes of sound files in folders.
        measure: length of a source in seconds, for the progress bar.
        expected: exceptions whose messages are written for users.
    """

    load: Callable[[], BatchTranscriber[Options]]
    options: Options
    shapes: Mapping[str, Any]
    suffixes: frozenset[str]
    measure: Callable[[Source], float | None]
    expected: tuple[type[Exception], ...] = ()


def run_job(request: Request, model: Model[Any]) -> int:
    """Do what was asked for; returns the exit code.

    0 all done, 1 something failed, 2 the command makes no sense, 130 interrupted.
    """
    console = Console(quiet=request.quiet)
    try:
        with interrupts() as signals, warnings_in_lines(console, debug=request.debug):
            return _run(request, model, console, signals)
    except UsageError as e:
        console.note_error(str(e))
        return WRONG_USAGE
    except BrokenPipeError:  # `| head` has seen enough
        return SOME_FAILED
    except OutputError as e:
        console.error(e.path, str(e))
        return SOME_FAILED
    except KeyboardInterrupt:  # before the first file
        console.note_error("interrupted")
        return INTERRUPTED
    except Exception as e:
        if request.debug:
            console.raw_error(traceback.format_exc())
        console.note_error(describe(e, "", expected=model.expected))
        return SOME_FAILED
    finally:
        console.close()


def _run(request: Request, model: Model[Any], console: Console, signals: Interrupts) -> int:
    listing = _list_inputs(request, model)
    for note in listing.notes:
        console.note(note)
    for problem in listing.problems:
        console.error(*problem)
    if listing.problems and (request.fail_fast or not listing.sources):
        return SOME_FAILED
    with contextlib.ExitStack() as stack:
        todo, sinks = _prepare(request, model, listing.sources, console, stack)
        if not todo:
            if not listing.sources:
                console.note(f"no input belongs to this shard ({_shard_name(request)})")
            return SOME_FAILED if listing.problems else ALL_DONE
        transcriber = _load(request, model, console)
        console.start_bar(todo, model.measure)
        engine = Engine(
            sinks,
            console,
            fail_fast=request.fail_fast,
            debug=request.debug,
            expected=model.expected,
            check=signals.check,
        )
        summary = engine.run(transcriber, todo, model.options, batch_size=request.batch_size)
    console.close()
    summary.failures[:0] = listing.problems
    return _report(summary, request, len(todo), console)


def _list_inputs(request: Request, model: Model[Any]) -> Listing:
    listed = read_files_from(request.files_from) if request.files_from is not None else []
    finder = Finder(model.suffixes, request.recursive, request.output_dir)
    return finder.find(request.inputs, listed, request.shard)


def _prepare(
    request: Request,
    model: Model[Any],
    sources: list[Source],
    console: Console,
    stack: contextlib.ExitStack,
) -> tuple[list[Source], list[Sink]]:
    """Return what is left to do and where it goes; the journal is closed with the stack."""
    sinks: list[Sink] = []
    if request.output_dir is not None:
        choices = {**model.shapes, "layout": asdict(request.layout), **asdict(model.options)}
        target = Target(request.output_dir, request.format_names, digest(choices))
        journal = stack.enter_context(Journal(request.output_dir, request.shard))
        plan = make_plan(sources, journal, target, overwrite=request.overwrite)
        _tell(plan.done, plan.outdated, len(sources), request.output_dir, console)
        sources = plan.todo
        if sources:
            journal.run(choices, target.options)
        sinks.append(FolderSink(target, journal, request.layout))
    if request.json_lines:
        sinks.append(JsonLinesSink(console))
    elif request.output_dir is None:
        sinks.append(TextSink(console, sources, request.format_names[0], request.layout))
    return sources, sinks


def _tell(done: int, outdated: int, total: int, folder: str, console: Console) -> None:
    if done:
        where = printable(folder)
        console.note(f"{done} of {total} are done already in {where}; --overwrite does them again")
    if outdated:
        console.note(f"{outdated} are done again: the recording, the options or an output changed")


def _load(request: Request, model: Model[Any], console: Console) -> BatchTranscriber[Any]:
    try:
        return model.load()
    except (ValueError, OSError, ImportError) as e:
        if request.debug:
            console.raw_error(traceback.format_exc())
        raise UsageError(describe(e, "", expected=(ValueError, ImportError))) from e


def _report(summary: Summary, request: Request, total: int, console: Console) -> int:
    left = total - summary.ended
    if len(summary.failures) > 1:
        console.note("these failed:")
        for name, message in summary.failures[:LISTED_FAILURES]:
            console.note(f"  {printable(name)}: {message}")
        if len(summary.failures) > LISTED_FAILURES:
            console.note(f"  and {len(summary.failures) - LISTED_FAILURES} more")
    console.note(summary.line())
    again = "; the same command goes on from here" if request.output_dir else ""
    if summary.interrupted:
        console.note_error(f"interrupted with {left} to do{again}")
        return INTERRUPTED
    if summary.stopped and left:
        console.note_error(f"stopped with {left} to do{again}")
    return SOME_FAILED if summary.failures else ALL_DONE


def _shard_name(request: Request) -> str:
    return f"{request.shard.index}/{request.shard.count}" if request.shard else "1/1"

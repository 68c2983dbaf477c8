"""`echoic stream eval`: live recognition of a test set, in numbers.

Nothing here imports torch before the command runs.
"""

import contextlib
import logging
import os
import secrets
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoic.asr.batch.console import Console
from echoic.asr.batch.errors import OutputError, UsageError, describe
from echoic.asr.batch.inputs import Finder, Problem
from echoic.asr.batch.job import ALL_DONE, INTERRUPTED, SOME_FAILED, WRONG_USAGE
from echoic.asr.command_line import DEFAULT_MODEL, DType, Policy, option
from echoic.asr.source import Source

if TYPE_CHECKING:
    from torch import Tensor

    from echoic.asr.latency.tokens import Timed
    from echoic.asr.stream_report import Failure, Report
    from echoic.asr.stream_rows import Row
    from echoic.asr.transcriber import Transcriber
    from echoic.streaming.recognizer import Recognizer

EPILOG = (
    "The manifest has a JSON object a line: audio, text, and words ([{text, start, end}]) where "
    "they are known; else the words are aligned by the offline model. Sound is not waited for: the "
    "clock is the recording's. Exit code: 0 all done, 1 something failed, 2 wrong usage."
)
INPUT, SETTINGS, OUTPUT, RUNNING = "Input", "Settings", "Output", "Running"
# Tells when words are said where the model that is measured cannot.
ALIGNER = "tiny.en"


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """What to evaluate, and where the results go.

    Attributes:
        manifest: the test set.
        chunk_ms: chunk sizes.
        policies: names of policies.
        model: name of the model or adapter.
        language: of rows that tell none.
        offline: whether to transcribe offline, too.
        device: where to compute.
        dtype: number type of the weights.
        limit: rows at most.
        json_file: where JSON goes; "-" prints it in the place of the tables.
        plot_file: where the picture goes.
    """

    manifest: str
    chunk_ms: tuple[float, ...]
    policies: tuple[str, ...]
    model: str = DEFAULT_MODEL
    language: str | None = None
    offline: bool = True
    device: str = "auto"
    dtype: str = "auto"
    limit: int | None = None
    json_file: str | None = None
    plot_file: str | None = None

    def __post_init__(self) -> None:
        for file in (self.json_file, self.plot_file):
            folder = os.path.dirname(file) if file else ""
            if folder and not os.path.isdir(folder):
                raise UsageError(f"no folder {folder} to write {os.path.basename(file or '')} in")


def evaluate_command(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="Test set (.jsonl).")],
    chunk_ms: Annotated[
        str, option("Milliseconds heard at once; several with commas.", SETTINGS)
    ] = "320,640,1000",
    policy: Annotated[
        str, option("causal, agreement, alignatt; several with commas.", SETTINGS)
    ] = "causal",
    model: Annotated[
        str, option("Name in the box, model id, or folder.", SETTINGS, "--model", "-m")
    ] = DEFAULT_MODEL,
    language: Annotated[
        str | None, option("Spoken language where the manifest tells none.", SETTINGS)
    ] = None,
    offline: Annotated[bool, option("Compare with the offline transcripts.", SETTINGS)] = True,
    limit: Annotated[int | None, option("Take the first N recordings.", INPUT, min=1)] = None,
    json_file: Annotated[
        str | None, option("Write JSON to FILE; - prints it.", OUTPUT, "--json", metavar="FILE")
    ] = None,
    plot_file: Annotated[
        str | None,
        option("Draw error rate against latency (.png).", OUTPUT, "--plot", metavar="FILE"),
    ] = None,
    device: Annotated[str, option("auto, cpu, cuda or cuda:1.", RUNNING)] = "auto",
    dtype: Annotated[DType, option("Number type of the weights.", RUNNING)] = DType.AUTO,
    threads: Annotated[int | None, option("CPU threads.", RUNNING, min=1)] = None,
    quiet: Annotated[
        bool, option("Results and problems only.", RUNNING, "--quiet/--no-quiet", "-q")
    ] = False,
    debug: Annotated[bool, option("Print where errors come from.", RUNNING)] = False,
) -> None:
    """Measure live recognition on a test set: error rates, latency, work."""
    console = Console(quiet=quiet)
    try:
        request = EvalRequest(
            manifest=manifest,
            chunk_ms=parse_chunks(chunk_ms),
            policies=parse_policies(policy),
            model=model,
            language=language,
            offline=offline,
            device=device,
            dtype=dtype.value,
            limit=limit,
            json_file=json_file,
            plot_file=plot_file,
        )
        code = run_evaluation(request, console, threads=threads, debug=debug)
    except UsageError as e:
        console.note_error(str(e))
        code = WRONG_USAGE
    except OutputError as e:
        console.error(e.path, str(e))
        code = SOME_FAILED
    except BrokenPipeError:
        code = SOME_FAILED
    except KeyboardInterrupt:
        console.note_error("interrupted")
        code = INTERRUPTED
    except Exception as e:
        if debug:
            console.raw_error(traceback.format_exc())
        console.note_error(describe(e, "", expected=(ImportError,)))
        code = SOME_FAILED
    finally:
        console.close()
    raise typer.Exit(code)


def run_evaluation(
    request: EvalRequest, console: Console, *, threads: int | None = None, debug: bool = False
) -> int:
    """Do what was asked for; returns the exit code.

    Raises:
        UsageError: it makes no sense.
        OutputError: a result cannot be written.
    """
    from echoic.asr.stream_report import Failure

    sources, problems = _sources(request)
    rows, bad = _rows(sources, request.language)
    failures = [Failure(*problem) for problem in problems] + bad
    for failure in failures:
        console.error(*failure)
    if not rows:
        console.note_error("no recording to evaluate on")
        return SOME_FAILED
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    if debug:
        logging.basicConfig(level=logging.WARNING)
        logging.getLogger("echoic").setLevel(logging.DEBUG)
    report = _evaluate(request, rows, console)
    console.close()
    for failure in report.failures:
        console.error(*failure)
    _write(request, report, failures, console)
    return SOME_FAILED if failures or report.failures else ALL_DONE


def parse_chunks(text: str) -> tuple[float, ...]:
    """Read chunk sizes in milliseconds, "320,640".

    Raises:
        UsageError: for anything else.
    """
    sizes: list[float] = []
    for part in text.split(","):
        with contextlib.suppress(ValueError):
            size = float(part)
            if 1 <= size <= 60_000:
                sizes.append(size)
                continue
        raise UsageError(f"--chunk-ms {text!r}: {part!r} is no number of milliseconds from 1 on")
    return tuple(dict.fromkeys(sizes))


def parse_policies(text: str) -> tuple[str, ...]:
    """Read names of policies, "causal,agreement".

    Raises:
        UsageError: for a name that is none.
    """
    known = [policy.value for policy in Policy]
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in known:
            raise UsageError(f"--policy {name!r} is none; take {', '.join(known)}")
    return names


def _sources(request: EvalRequest) -> tuple[list[Source], list[Problem]]:
    from echoic.audio.io import AUDIO_SUFFIXES

    if not os.path.isfile(request.manifest):
        raise UsageError(f"{request.manifest}: no such file; name a manifest (.jsonl)")
    listing = Finder(AUDIO_SUFFIXES).find([request.manifest])
    return listing.sources[: request.limit], listing.problems


def _rows(sources: list[Source], language: str | None) -> tuple[list["Row"], list["Failure"]]:
    from dataclasses import replace

    from echoic.asr.languages import language_code
    from echoic.asr.stream_report import Failure
    from echoic.asr.stream_rows import Row

    try:
        default = None if language is None else language_code(language)
    except ValueError as e:
        raise UsageError(str(e)) from e
    rows: list[Row] = []
    failures: list[Failure] = []
    for source in sources:
        try:
            row = Row.from_source(source)
        except ValueError as e:
            failures.append(Failure(source.name, describe(e, source.name, expected=(ValueError,))))
            continue
        rows.append(replace(row, language=row.language or default))
    return rows, failures


def _evaluate(request: EvalRequest, rows: list["Row"], console: Console) -> "Report":
    from echoic.asr.stream_eval import Tools, evaluate

    models = _Models(request)
    passes = 1 + len(request.policies) * len(request.chunk_ms)
    sources = [Source(r.name, r.path, r.name, r.offset, r.duration) for r in rows]
    console.start_bar(sources, lambda source: _seconds(source, passes))
    try:
        return evaluate(
            models.recognizer,
            rows,
            request.chunk_ms,
            policies=request.policies,
            model=request.model,
            tools=Tools(
                transcribe=models.transcribe if request.offline else None,
                align=models.align,
                progress=console.advance,
            ),
        )
    except (ValueError, ImportError, OSError) as e:
        raise UsageError(describe(e, "", expected=(ValueError, ImportError))) from e


def _seconds(source: Source, passes: int) -> float | None:
    from echoic.audio.io import info

    if source.duration is not None:
        return source.duration * passes
    try:
        length = info(source.path).duration
    except (ValueError, OSError):
        return None
    return None if length is None else max(0.0, length - source.offset) * passes


class _Models:
    """The recognisers of a request, each loaded when it is first needed."""

    def __init__(self, request: EvalRequest) -> None:
        self._request = request

    @cached_property
    def base(self) -> str:
        """The model that an adapter is for, or the model itself."""
        from echoic.asr.errors import CheckpointError
        from echoic.asr.models import kind_of
        from echoic.asr.whisper.streaming.load import find_adapter

        if kind_of(self._request.model) != "whisper":
            return self._request.model

        try:
            return find_adapter(self._request.model).base_model or self._request.model
        except CheckpointError:
            return self._request.model

    @cached_property
    def offline(self) -> "Transcriber":
        """The offline recogniser with the same base weights."""
        from echoic.asr.transcriber import Transcriber

        return Transcriber.from_pretrained(
            self.base, device=self._request.device, dtype=self._request.dtype
        )

    @cached_property
    def _aligner(self) -> Any:
        from echoic.asr.whisper.model import WhisperModel
        from echoic.asr.whisper.reference_times import ReferenceAligner

        model = self.offline.model
        if not isinstance(model, WhisperModel):  # others cannot align a text that is given
            model = WhisperModel.from_pretrained(ALIGNER)
        return ReferenceAligner(model)

    def recognizer(self, policy: str, chunk_ms: float) -> "Recognizer[Any]":
        """Load a live recogniser."""
        from typing import cast

        from echoic.asr.recognizers import load_live
        from echoic.asr.whisper.streaming import load

        request = self._request
        live = load_live(
            request.model if policy == "causal" else self.base,
            policy=cast(load.Policy, policy),
            chunk_ms=chunk_ms,
            device=request.device,
            dtype=request.dtype,
            language=request.language,
        )
        return live.recognizer

    def transcribe(self, wav: "Tensor", language: str | None) -> str:
        """Transcribe a recording offline."""
        from echoic.asr.options import TranscribeOptions
        from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel

        model = self.offline.model
        many = isinstance(model, WhisperModel) and model.generation.is_multilingual
        options = TranscribeOptions(language=(language or "en") if many else None)
        return self.offline.transcribe(wav, options, sample_rate=SAMPLE_RATE).text

    def align(self, wav: "Tensor", text: str, language: str | None) -> "list[Timed]":
        """Find out when the words of a text are said."""
        return list(self._aligner(wav, text, language))


def _write(
    request: EvalRequest, report: "Report", unread: list["Failure"], console: Console
) -> None:
    from dataclasses import replace

    report = replace(report, failures=(*unread, *report.failures))
    if request.json_file == "-":
        console.result(report.to_json())
    else:
        console.result(report.table())
    if request.json_file not in (None, "-"):
        with _whole_file(request.json_file) as part:
            part.write_text(report.to_json(), encoding="utf-8")
    if request.plot_file is not None:
        from echoic.asr.stream_plot import plot_report
        from echoic.audio.plot import save_figure

        save_figure(plot_report(report), request.plot_file)


@contextlib.contextmanager
def _whole_file(path: str) -> Iterator[Path]:
    """Give a name to write to; the file appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    part = Path(path).with_name(f".{Path(path).name}.{secrets.token_hex(6)}")
    try:
        yield part
        part.replace(path)
    except OSError as e:
        raise OutputError(path, e) from e
    finally:
        part.unlink(missing_ok=True)

"""The batch itself: sources in, outcomes out, each result given to the sinks.

Nothing stops it but the user, outputs that can no longer be written, and `fail_fast`.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from echoic.asr.batch.console import Console, Stopwatch, clock
from echoic.asr.batch.errors import OutputError, UsageError, describe
from echoic.asr.batch.inputs import Problem
from echoic.asr.batch.outputs import Sink, close_all
from echoic.asr.source import Outcome, Source

Options = TypeVar("Options", contravariant=True)


class BatchTranscriber(Protocol[Options]):
    """What the engine needs of a model.

    `transcribe_many` takes sources lazily, a bounded amount of audio ahead, and yields one outcome
    each, in any order; a bad file is an outcome with an error, never an exception. Options that do
    not suit the model are a ValueError of the call itself. `on_progress`
    hears of each stretch that is finished, in seconds of audio since the last call.
    """

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: Options,
        *,
        batch_size: int,
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Outcome]:
        """Yield an outcome for each source."""
        ...


@dataclass(slots=True)
class Summary:
    """What became of a batch: counts, failures, seconds of audio and of wall clock.

    Attributes:
        done: sources transcribed and written.
        ended: sources done or failed; what is missing from all was not tried to the end.
        failures: names and reasons of what failed.
        audio: seconds of audio transcribed.
        wall: seconds it took.
        interrupted: the user stopped it.
        stopped: it stopped itself before the end: outputs cannot be written, or `fail_fast`.
    """

    done: int = 0
    ended: int = 0
    failures: list[Problem] = field(default_factory=list[Problem])
    audio: float = 0.0
    wall: float = 0.0
    interrupted: bool = False
    stopped: bool = False

    def line(self) -> str:
        """Return "12 done, 1 failed, 0:31:02 of audio in 63.0 s (RTF 0.034, 29.6x real time)"."""
        speed = ""
        if self.audio and self.wall:
            rtf = self.wall / self.audio
            speed = f" (RTF {rtf:.3f}, {1 / rtf:.1f}x real time)"
        return (
            f"{self.done} done, {len(self.failures)} failed, "
            f"{clock(self.audio)} of audio in {self.wall:.1f} s{speed}"
        )


class Engine:
    """Runs one batch.

    Args:
        sinks: who takes the results.
        console: who tells the user.
        fail_fast: stop at the first failure.
        debug: print tracebacks of failures.
        expected: exceptions whose message is written for users.
        check: called now and then; raises KeyboardInterrupt when the user wants to stop.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        console: Console,
        *,
        fail_fast: bool = False,
        debug: bool = False,
        expected: Sequence[type[Exception]] = (),
        check: Callable[[], None] | None = None,
    ):
        self._sinks = sinks
        self._console = console
        self._fail_fast = fail_fast
        self._debug = debug
        self._expected = tuple(expected)
        self._check = check
        self._flying: dict[str, Source] = {}
        self._summary = Summary()

    def run(
        self,
        transcriber: BatchTranscriber[Options],
        sources: Iterable[Source],
        options: Options,
        *,
        batch_size: int,
    ) -> Summary:
        """Transcribe all sources; returns also after Ctrl-C, and says so in the summary.

        Raises:
            UsageError: the transcriber refuses the options.
        """
        watch, summary = Stopwatch(), self._summary
        try:
            with ExitStack() as stack:
                stack.callback(close_all, self._sinks)
                outcomes = self._begin(transcriber, sources, options, batch_size)
                if callable(close := getattr(outcomes, "close", None)):
                    stack.callback(close)
                for outcome in outcomes:
                    self._take(outcome)
                    if summary.failures and self._fail_fast:
                        summary.stopped = True
                        break
                else:
                    self._report_lost()
        except KeyboardInterrupt:
            summary.interrupted = True
        except OutputError as e:
            summary.stopped = True
            self._note_failure(e.path, str(e), e)
        except (BrokenPipeError, UsageError):
            raise
        except Exception as e:  # the transcriber's fault, not a file's: what is done is kept
            summary.stopped = True
            self._note_failure("the batch", describe(e, "", expected=self._expected), e)
        summary.wall = watch.seconds
        return summary

    def _begin(
        self,
        transcriber: BatchTranscriber[Options],
        sources: Iterable[Source],
        options: Options,
        batch_size: int,
    ) -> Iterator[Outcome]:
        try:
            return transcriber.transcribe_many(
                self._hand_out(sources),
                options,
                batch_size=batch_size,
                on_progress=self._advance,
            )
        except ValueError as e:
            raise UsageError(describe(e, "", expected=(ValueError,))) from e

    def _advance(self, seconds: float) -> None:
        if self._check is not None:
            self._check()
        self._console.advance(seconds)

    def _hand_out(self, sources: Iterable[Source]) -> Iterator[Source]:
        for source in sources:
            self._flying[source.key] = source
            for sink in self._sinks:
                sink.starting(source)
            yield source

    def _take(self, outcome: Outcome) -> None:
        source, transcript, error = outcome
        self._flying.pop(source.key, None)
        if transcript is None:
            self._fail(source, error or RuntimeError("neither a transcript nor an error came"))
            return
        try:
            for sink in self._sinks:
                sink.succeeded(source, transcript)
        except OutputError as e:
            if e.fatal:
                raise
            self._fail(source, e)
            return
        self._summary.ended += 1
        self._summary.done += 1
        self._summary.audio += transcript.duration

    def _fail(self, source: Source, error: Exception) -> None:
        if isinstance(error, OutputError):
            name, message = error.path, str(error)
        else:
            name, message = source.name, self._describe(error, source)
        self._summary.ended += 1
        self._note_failure(name, message, error)
        for sink in self._sinks:
            sink.failed(source, message)

    def _describe(self, error: Exception, source: Source) -> str:
        return describe(error, source.path, expected=self._expected)

    def _note_failure(self, name: str, message: str, error: BaseException) -> None:
        self._summary.failures.append(Problem(name, message))
        self._console.error(name, message)
        if self._debug:
            self._console.raw_error("".join(traceback.format_exception(error)))

    def _report_lost(self) -> None:
        """Count sources for which no outcome came: a batch must not lose any in silence."""
        for source in list(self._flying.values()):
            self._fail(source, RuntimeError("the transcriber returned no result for it"))

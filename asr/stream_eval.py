"""Streaming recognition of a test set, in simulated real time.

report = evaluate(
    lambda policy, chunk_ms: load_recognizer("tiny.en", policy=policy, chunk_ms=chunk_ms),
    rows, [320, 640, 1000],
)
print(report.table())

The sound is fed in short pieces, as a microphone gives it. Nobody waits: a piece's time is where it
lies in the recording, and the work it causes is measured, so that both clocks (without the work,
and with it and its backlog) come out of one run.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from echoic.asr.batch.errors import describe
from echoic.asr.latency.log import Feed, StreamLog
from echoic.asr.latency.recording import Measurement, Reference, measure
from echoic.asr.latency.summary import summarise
from echoic.asr.latency.tokens import Normalizer, Timed, Tokenizer
from echoic.asr.metrics import ErrorRate, word_error_rate
from echoic.asr.stream_report import Failure, Report, Result
from echoic.asr.stream_rows import Row
from echoic.asr.text.normalizers import for_language
from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.audio.errors import AudioDecodeError
from echoic.streaming.events import Event
from echoic.streaming.recognizer import Recognizer

_log = logging.getLogger(__name__)

FEED_SECONDS = 0.02
_WARM_UP_SECONDS = 2.0
_GATE_SECONDS = 0.032  # a session lets sound through in frames of this length
_EXPECTED = (AudioDecodeError, ValueError)

MakeRecognizer = Callable[[str, float], Recognizer[Any]]
"""Returns the recogniser of a policy's name and a chunk size in milliseconds."""

Transcribe = Callable[[Tensor, str | None], str]
"""Returns the offline transcript of (T,) samples at 16 kHz, in a language or the default one."""

AlignWords = Callable[[Tensor, str, str | None], Sequence[Timed]]
"""Returns the words of a text with the times at which (T,) samples at 16 kHz say them."""


class Stream(Protocol):
    """A live stream of one recording; `echoic.streaming.session.Session` is one."""

    def feed(self, wav: Tensor) -> list[Event]:
        """Hear (T,) samples more."""
        ...

    def finish(self) -> list[Event]:
        """End the stream."""
        ...


OpenStream = Callable[[Recognizer[Any]], Stream]


@dataclass(frozen=True, slots=True)
class Tools:
    """What an evaluation may use beside the recognisers.

    Attributes:
        transcribe: the offline recogniser to compare with; None leaves that out.
        align: finds the words' times where the test set has none; None leaves lags out there.
        open_stream: begins a stream; None takes a session, which hears silence by voice activity.
        feed_seconds: length of the pieces of sound.
        clock: seconds, to measure the work with.
        progress: told the seconds of sound that are done.
    """

    transcribe: Transcribe | None = None
    align: AlignWords | None = None
    open_stream: OpenStream | None = None
    feed_seconds: float = FEED_SECONDS
    clock: Callable[[], float] = time.perf_counter
    progress: Callable[[float], None] = lambda seconds: None

    def __post_init__(self) -> None:
        if not self.feed_seconds * SAMPLE_RATE >= 1:
            raise ValueError(
                f"feed_seconds is {self.feed_seconds}: expected at least one sample, "
                f"{1 / SAMPLE_RATE:g} s"
            )


@dataclass(frozen=True, slots=True)
class _Example:
    """A row that can be read, with all that is the same for every setting."""

    row: Row
    reference: Reference
    offline: str | None
    normalizer: Normalizer


@dataclass(slots=True)
class _Found:
    """What is known so far."""

    failures: list[Failure] = field(default_factory=list[Failure])

    def fail(self, name: str, error: Exception, path: str = "") -> None:
        _log.debug("%s", name, exc_info=error)
        self.failures.append(Failure(name, describe(error, path or name, expected=_EXPECTED)))


def evaluate(
    make_recognizer: MakeRecognizer,
    rows: Iterable[Row],
    chunk_sizes: Sequence[float],
    *,
    policies: Sequence[str] = ("causal",),
    model: str = "",
    tools: Tools | None = None,
) -> Report:
    """Recognise a test set once for every policy and chunk size.

    A row or a setting that fails is told in the report and stops nothing.

    Args:
        make_recognizer: called once a setting, and for the first one before any row is read.
        rows: the test set.
        chunk_sizes: in milliseconds.
        policies: names that `make_recognizer` knows.
        model: name for the report.
        tools: see there; None for a session in pieces of 20 ms, without offline transcripts, and
            with lags only where the rows have word times.

    Raises:
        ImportError: the extra `metrics` is not installed.
        ValueError: no chunk size or no policy; and whatever making the first recogniser raises.
    """
    if not chunk_sizes or not policies:
        raise ValueError(
            f"{len(chunk_sizes)} chunk sizes and {len(policies)} policies: give at least one each"
        )
    tools = tools or Tools()
    settings = [(policy, chunk) for policy in policies for chunk in chunk_sizes]
    first = make_recognizer(*settings[0])
    found = _Found()
    examples = list(_prepare(rows, tools, found))
    results: list[Result] = []
    for number, (policy, chunk) in enumerate(settings):
        try:
            recognizer = first if number == 0 else make_recognizer(policy, chunk)
        except (ValueError, OSError) as e:
            found.fail(f"{policy} at {chunk:g} ms", e)
            continue
        results.append(_evaluate_one(recognizer, policy, chunk, examples, tools, found))
    return Report(
        model=model,
        results=tuple(results),
        offline=_offline_rate(examples) if tools.transcribe else None,
        failures=tuple(found.failures),
        feed_ms=tools.feed_seconds * 1000,
    )


def simulate(
    stream: Stream,
    wav: Tensor,
    *,
    feed_seconds: float = FEED_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> StreamLog:
    """Run a stream over a recording and log what it says, when, and the work it was.

    Args:
        stream: a fresh one.
        wav: (T,) float32 at 16 kHz.
        feed_seconds: length of the pieces.
        clock: seconds, to measure the work with.
    """
    feeds: list[Feed] = []

    def call(work: Callable[[], list[Event]], heard: int) -> None:
        begin = clock()
        events = work()
        feeds.append(Feed(heard / SAMPLE_RATE, max(0.0, clock() - begin), tuple(events)))

    heard = 0
    for piece in wav.split(max(1, round(feed_seconds * SAMPLE_RATE))):
        heard += len(piece)
        call(lambda piece=piece: stream.feed(piece), heard)
    call(stream.finish, heard)
    return StreamLog(heard / SAMPLE_RATE, tuple(feeds))


def open_session(recognizer: Recognizer[Any]) -> Stream:
    """Begin a session as a live one is: voice activity decides what the recogniser hears."""
    from echoic.streaming.session import Session

    return Session(recognizer, sample_rate=SAMPLE_RATE)


def _prepare(rows: Iterable[Row], tools: Tools, found: _Found) -> Iterable[_Example]:
    for row in rows:
        try:
            yield _example(row, tools)
        except ImportError:
            raise
        except Exception as e:  # a row must not take the others with it
            found.fail(row.name, e, row.path)


def _example(row: Row, tools: Tools) -> _Example:
    wav = row.load()
    normalizer = for_language(row.language or "en")
    words: Sequence[Timed] | None = row.words
    if words is None and tools.align and row.text.strip() and len(wav) <= 30 * SAMPLE_RATE:
        words = tools.align(wav, row.text, row.language)
    offline = tools.transcribe(wav, row.language) if tools.transcribe else None
    tools.progress(len(wav) / SAMPLE_RATE)
    reference = Reference(row.text, None if words is None else tuple(words))
    return _Example(row, reference, offline, normalizer)


def _evaluate_one(
    recognizer: Recognizer[Any],
    policy: str,
    chunk_ms: float,
    examples: Sequence[_Example],
    tools: Tools,
    found: _Found,
) -> Result:
    measured: list[Measurement] = []
    offline: list[str] = []
    for number, example in enumerate(examples):
        try:
            wav = example.row.load()
            if number == 0:  # what libraries do but once is not the recogniser's work
                _run(recognizer, wav[: round(_WARM_UP_SECONDS * SAMPLE_RATE)], tools)
            log = _run(recognizer, wav, tools)
            measured.append(_measure(log, example, recognizer, chunk_ms, tools))
        except Exception as e:
            name = f"{example.row.name} ({policy} at {chunk_ms:g} ms)"
            found.fail(name, e, example.row.path)
            continue
        offline.append(example.normalizer(example.offline or ""))
        tools.progress(len(wav) / SAMPLE_RATE)
    hypotheses = [m.hypothesis for m in measured]
    return Result(
        policy=policy,
        chunk_ms=chunk_ms,
        summary=summarise(measured),
        to_offline=word_error_rate(offline, hypotheses) if tools.transcribe else None,
    )


def _run(recognizer: Recognizer[Any], wav: Tensor, tools: Tools) -> StreamLog:
    stream = (tools.open_stream or open_session)(recognizer)
    return simulate(stream, wav, feed_seconds=tools.feed_seconds, clock=tools.clock)


def _measure(
    log: StreamLog,
    example: _Example,
    recognizer: Recognizer[Any],
    chunk_ms: float,
    tools: Tools,
) -> Measurement:
    clean = example.normalizer
    lookahead = recognizer.lookahead / recognizer.sample_rate
    found = measure(
        log,
        example.reference,
        chunk=chunk_ms / 1000,
        grace=tools.feed_seconds + lookahead + _GATE_SECONDS,
        tokenizer=Tokenizer(clean),
    )
    # Texts of several languages meet in one sum: each is normalised by the rules of its own.
    return replace(found, reference=clean(found.reference), hypothesis=clean(found.hypothesis))


def _offline_rate(examples: Sequence[_Example]) -> ErrorRate:
    return word_error_rate(
        [e.normalizer(e.reference.text) for e in examples],
        [e.normalizer(e.offline or "") for e in examples],
    )

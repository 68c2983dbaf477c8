"""Batch transcription on a Ray cluster: workers hold the model, this process takes what they hear.

To the batch engine it is a recogniser like any other, so that inputs, outputs, journal and resuming
are those of a batch on one machine. Workers write nothing.
"""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from echoic.asr.batch.engine import BatchTranscriber
from echoic.asr.batch.errors import UsageError, describe
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word
from echoic.audio.data.cluster import Cluster, ClusterError, RemoteError
from echoic.audio.data.ray_pool import Row, answers
from echoic.audio.errors import AudioDecodeError


class RayTranscriber:
    """A recogniser whose work is done on a cluster; it satisfies `BatchTranscriber`.

    Args:
        load: loads the recogniser in a worker; it can be pickled.
        cluster: where.
    """

    def __init__(self, load: Callable[[], BatchTranscriber[Any]], cluster: Cluster) -> None:
        self._load, self._cluster = load, cluster

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: Any,
        *,
        batch_size: int,
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Outcome]:
        """Yield an outcome for each source, as they come from the workers.

        Args:
            sources: on a file system that all machines share.
            options: as the recogniser takes them.
            batch_size: windows decoded at once, and recordings given to a worker at once.
            on_progress: told how many more seconds of audio are done.

        Raises:
            UsageError: there is no such cluster, its workers cannot load the model or follow the
                options, or a source is standard input.
            ClusterLost: Ray failed.
        """
        heard: dict[str, Source] = {}
        load = _Load(self._load, options, batch_size)
        try:
            for answer in answers(self._cluster, load, _rows(sources, heard), together=batch_size):
                outcome = _outcome(heard.pop(answer["key"]), answer)
                if on_progress is not None and outcome.transcript is not None:
                    on_progress(outcome.transcript.duration)
                yield outcome
        except ClusterError as e:
            raise UsageError(str(e)) from e


@dataclass(frozen=True, slots=True)
class _Load:
    """What each worker calls once: the recogniser, with all that does not change."""

    load: Callable[[], BatchTranscriber[Any]]
    options: Any
    batch_size: int

    def __call__(self) -> Callable[[list[Row]], list[Row]]:
        return partial(_transcribe, self.load(), self.options, self.batch_size)


def _rows(sources: Iterable[Source], heard: dict[str, Source]) -> Iterator[Row]:
    for source in sources:
        if source.is_stdin:
            raise ClusterError("'-' is read here, where no worker hears it; write it to a file")
        heard[source.key] = source
        yield {
            "key": source.key,
            "path": os.path.abspath(source.path),
            "typed": source.path,
            "offset": source.offset,
            "duration": source.duration,
        }


def _transcribe(
    transcriber: BatchTranscriber[Any], options: Any, batch_size: int, rows: list[Row]
) -> list[Row]:
    """Answer rows, in a worker."""
    sources = [
        Source(row["key"], row["path"], row["path"], row["offset"], row["duration"]) for row in rows
    ]
    try:
        outcomes = transcriber.transcribe_many(
            sources, options, batch_size=batch_size, on_progress=None
        )
    except ValueError as e:
        raise ClusterError(describe(e, "", expected=(ValueError,))) from e
    return [_answer(outcome) for outcome in outcomes]


def _answer(outcome: Outcome) -> Row:
    source, transcript, error = outcome
    if transcript is not None:
        return {"key": source.key, "transcript": asdict(transcript)}
    error = error or RuntimeError("neither a transcript nor an error came")
    return {
        "key": source.key,
        "error": describe(error, source.path, expected=(AudioDecodeError,)),
        "trace": "".join(traceback.format_exception(error)),
    }


def _outcome(source: Source, answer: Row) -> Outcome:
    if "error" in answer:
        return Outcome(source, None, RemoteError.of(answer))
    fields: dict[str, Any] = answer["transcript"]
    segments = tuple(_segment(**segment) for segment in fields.pop("segments"))
    return Outcome(source, Transcript(segments=segments, **fields), None)


def _segment(*, tokens: list[int], words: list[dict[str, Any]] | None, **fields: Any) -> Segment:
    timed = None if words is None else tuple(Word(**word) for word in words)
    return Segment(tokens=tuple(tokens), words=timed, **fields)

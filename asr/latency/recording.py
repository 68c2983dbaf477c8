"""All measurements of one recording, from its log and its reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from echoic.asr.latency.delays import Delays, audio_clock, measure_delays, wall_clock
from echoic.asr.latency.log import StreamLog
from echoic.asr.latency.matching import match
from echoic.asr.latency.stability import Relative, Revisions, relative_errors, revisions
from echoic.asr.latency.timeline import Timeline
from echoic.asr.latency.tokens import Timed, Tokenizer


@dataclass(frozen=True, slots=True)
class Reference:
    """What was said in a recording.

    Attributes:
        text: all of it; empty for silence.
        words: its words with times, None where nobody knows them: then nothing is said about lags.
    """

    text: str
    words: tuple[Timed, ...] | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one recording tells; counts and lists, so that a corpus is their sum.

    Attributes:
        duration: seconds.
        reference: text.
        hypothesis: text of the last snapshot.
        num_timed: reference tokens with times; `num_right` of them were recognised.
        num_right: those give the lags.
        audio: delays on the audio clock.
        wall: delays with the time of computing.
        revisions: what was taken back.
        relative: errors against what had been said; None without times.
        chunk_compute: seconds of work for every chunk of sound.
        start_errors: seconds by which recognised words begin too late, one for each right word.
        end_errors: seconds by which they end too late.
    """

    duration: float
    reference: str
    hypothesis: str
    num_timed: int
    num_right: int
    audio: Delays
    wall: Delays
    revisions: Revisions
    relative: Relative | None
    chunk_compute: tuple[float, ...]
    start_errors: tuple[float, ...]
    end_errors: tuple[float, ...]


def measure(
    log: StreamLog,
    reference: Reference,
    *,
    chunk: float,
    grace: float = 0.0,
    tokenizer: Tokenizer | None = None,
) -> Measurement:
    """Measure one recording.

    Args:
        log: of its recognition.
        reference: what was said.
        chunk: seconds of sound that the recogniser works on at a time.
        grace: see `relative_errors`.
        tokenizer: normalises words before they are compared; None only lowers the case.

    Raises:
        ImportError: `jiwer` is not installed.
        ValueError: a chunk that is not positive.
    """
    tokenizer = tokenizer or Tokenizer()
    timeline = Timeline.of(log, tokenizer)
    timed = tokenizer(reference.words or ())
    matches = match(timed, timeline.tokens)
    hits = [(timed[m.reference], m.place) for m in matches]
    found = [timeline.tokens[m.place] for m in matches]
    audio, wall = (
        measure_delays(
            timeline,
            hits,
            clock,
            duration=log.duration,
            num_reference=tokenizer.count(reference.text),
            speech_start=timed[0].start if timed else None,
        )
        for clock in (audio_clock, wall_clock)
    )
    return Measurement(
        duration=log.duration,
        reference=reference.text,
        hypothesis=last_text(log),
        num_timed=len(timed),
        num_right=len(hits),
        audio=audio,
        wall=wall,
        revisions=revisions(timeline),
        relative=relative_errors(timeline, timed, chunk, log.duration, grace) if timed else None,
        chunk_compute=tuple(log.compute_by_chunk(chunk)),
        start_errors=tuple(f.start - r.start for f, (r, _) in zip(found, hits, strict=True)),
        end_errors=tuple(f.end - r.end for f, (r, _) in zip(found, hits, strict=True)),
    )


def last_text(log: StreamLog) -> str:
    """Return the finals' texts in one line, and behind them what was open at the end."""
    closed: list[str] = []
    left = ""
    for feed in log.feeds:
        for event in feed.events:
            if event.type == "final":
                closed.append(event.text.strip())
                left = ""
            elif event.type == "partial":
                left = event.text.strip()
    return " ".join(text for text in (*closed, left) if text)


def texts_of(measurements: Sequence[Measurement]) -> tuple[list[str], list[str]]:
    """Return the references and the hypotheses, as `word_error_rate` takes them."""
    return [m.reference for m in measurements], [m.hypothesis for m in measurements]

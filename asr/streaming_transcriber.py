"""Whole recordings by a live recogniser: what it would have said, had it listened.

transcriber = StreamingTranscriber(*load_live("tiny.en"))
print(transcriber.transcribe("talk.mp3").text)
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from echoic.asr.guards import compression_ratio
from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word
from echoic.audio.io import blocks
from echoic.audio.silero import SileroVad
from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.session import Session, SessionConfig

_BLOCK_SECONDS = 1.0
_UNDETERMINED = "und"


class StreamingTranscriber:
    """Transcribes recordings one after the other, each as a stream of its own.

    A segment is what one final event closed. Language, beam size and hot words are the
    recogniser's; what only whole windows can have (prompts, translation) is refused.

    Attributes:
        recognizer: what hears.
        language: code of what is spoken; None where the recogniser finds out by itself.
        hotwords: words that the recogniser was told to expect.
    """

    def __init__(
        self,
        recognizer: Recognizer[Any],
        language: str | None = None,
        hotwords: str | None = None,
    ) -> None:
        self.recognizer = recognizer
        self.language = language
        self.hotwords = hotwords
        self._vad: SileroVad | None = None

    def transcribe(
        self, path: str | os.PathLike[str], options: TranscribeOptions | None = None
    ) -> Transcript:
        """Transcribe one recording, "-" for standard input.

        Raises:
            AudioDecodeError, OSError: the file cannot be read.
            ValueError: options that a stream cannot follow.
        """
        options = TranscribeOptions() if options is None else options
        self._check(options)
        name = os.fspath(path)
        return self._hear(Source(name, name, name), options, None)

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: TranscribeOptions,
        *,
        batch_size: int = 1,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[Outcome]:
        """Transcribe recordings in their order; a bad one is an outcome with its error.

        Args:
            sources: taken one at a time.
            options: which of `word_timestamps` and `vad` are followed.
            batch_size: has no effect: a stream is decoded block by block.
            on_progress: told how many more seconds of audio are done.

        Raises:
            ValueError: options that a stream cannot follow.
        """
        self._check(options)
        return (self._outcome(source, options, on_progress) for source in sources)

    def _check(self, options: TranscribeOptions) -> None:
        if options.prompt:
            raise ValueError("prompt cannot be followed while streaming; leave it out")
        if options.hotwords and options.hotwords != self.hotwords:
            raise ValueError("hotwords are the recogniser's: load it with them, or leave it out")
        if options.task != "transcribe":
            raise ValueError(f"task is {options.task!r}; streaming can only transcribe")

    def _outcome(
        self,
        source: Source,
        options: TranscribeOptions,
        on_progress: Callable[[float], None] | None,
    ) -> Outcome:
        try:
            return Outcome(source, self._hear(source, options, on_progress), None)
        except Exception as error:  # a recording must not take the others with it
            return Outcome(source, None, error)

    def _hear(
        self,
        source: Source,
        options: TranscribeOptions,
        on_progress: Callable[[float], None] | None,
    ) -> Transcript:
        rate = self.recognizer.sample_rate
        session = self._session(options)
        finals: list[Event] = []
        samples = 0
        sound = blocks(
            source.path,
            seconds=_BLOCK_SECONDS,
            sample_rate=rate,
            mono=True,
            offset=source.offset,
            duration=source.duration,
        )
        for block in sound:
            finals += _finals(session.feed(block))
            samples += block.shape[1]
            if on_progress is not None:
                on_progress(block.shape[1] / rate)
        finals += _finals(session.finish())
        return Transcript(
            language=self.language or _UNDETERMINED,
            language_probability=1.0 if self.language else 0.0,
            duration=round(samples / rate, 3),
            segments=tuple(
                _segment(i, event, words=options.word_timestamps) for i, event in enumerate(finals)
            ),
        )

    def _session(self, options: TranscribeOptions) -> Session[Any]:
        if options.vad and self._vad is None:
            self._vad = SileroVad.from_installed()
        config = SessionConfig(GateConfig(enabled=options.vad))
        rate = self.recognizer.sample_rate
        return Session(self.recognizer, sample_rate=rate, config=config, vad=self._vad)


def load_streaming_transcriber(
    name: str,
    *,
    policy: Any,
    chunk_ms: float | None,
    device: str,
    dtype: str,
    threads: int | None,
    language: str | None,
    beam_size: int,
    hotwords: str | None = None,
    ngram_weight: float | None = None,
    language_adapters: Sequence[str] = (),
) -> StreamingTranscriber:
    """Load a live recogniser for whole recordings; see `load_live`.

    Raises:
        CheckpointError: no such model, or no adapter for it.
        ValueError: a setting that is not possible; says what is.
    """
    import torch

    from echoic.asr.recognizers import load_live

    if threads is not None:
        torch.set_num_threads(threads)
    live = load_live(
        name,
        policy=policy,
        chunk_ms=chunk_ms,
        device=device,
        dtype=dtype,
        language=language,
        beam_size=beam_size,
        hotwords=hotwords,
        ngram_weight=ngram_weight,
        language_adapters=language_adapters,
    )
    return StreamingTranscriber(live.recognizer, live.language, hotwords)


def _finals(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.type == "final" and event.text]


def _segment(number: int, event: Event, *, words: bool) -> Segment:
    """Return what a final closed; confidences stand for the probabilities of tokens."""
    logs = [math.log(max(word.confidence, 1e-6)) for word in event.words]
    timed = tuple(
        Word(round(w.start, 3), round(w.end, 3), f" {w.text}", w.confidence) for w in event.words
    )
    return Segment(
        id=number,
        start=round(event.start, 3),
        end=round(event.end, 3),
        text=f" {event.text}",
        tokens=(),
        avg_logprob=sum(logs) / len(logs) if logs else 0.0,
        compression_ratio=compression_ratio(event.text),
        no_speech_prob=0.0,
        temperature=0.0,
        words=timed if words else None,
    )

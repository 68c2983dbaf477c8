"""A recogniser for tests of the batch engine: it "hears" what the bytes of a file say.

As the real one it takes sources lazily, keeps some in flight, and answers out of order.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word


class NotSoundError(ValueError):
    """Stands for AudioDecodeError, without importing torch."""


@dataclass(frozen=True)
class FakeOptions:
    """Stands for TranscribeOptions."""

    language: str = "en"
    word_timestamps: bool = False


@dataclass
class FakeTranscriber:
    """Yields the files' text; `heard` notes what was asked for, `before` runs before each file.

    A file that begins with "BAD" is no sound, one with "BOOM" meets a bug, and "CTRL-C" is the
    user's. Each byte lasts a second.
    """

    window: int = 3
    delay: float = 0.0
    heard: list[str] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)
    options: list[Any] = field(default_factory=list)
    most_in_flight: int = 0
    before: Callable[[Source], None] = lambda source: None

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: Any,
        *,
        batch_size: int,
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Outcome]:
        self.batch_sizes.append(batch_size)
        self.options.append(options)
        source_iterator = iter(sources)
        while window := list(islice(source_iterator, self.window)):
            self.most_in_flight = max(self.most_in_flight, len(window))
            for source in reversed(window):
                time.sleep(self.delay)
                self.heard.append(source.key)
                self.before(source)
                try:
                    transcript = self._hear(source)
                except Exception as e:
                    yield Outcome(source, None, e)
                    continue
                if on_progress is not None:
                    on_progress(transcript.duration)
                yield Outcome(source, transcript, None)

    def _hear(self, source: Source) -> Transcript:
        data = Path(source.path).read_bytes()
        if data.startswith(b"BAD"):
            raise NotSoundError(f"{source.path}: is not sound; convert it to WAV")
        if data.startswith(b"BOOM"):
            raise ZeroDivisionError("division by zero")
        if data.startswith(b"CTRL-C"):
            raise KeyboardInterrupt
        return transcript_of(data.decode("utf-8", "replace"))


def transcript_of(*texts: str, words: bool = False) -> Transcript:
    """Return a transcript with a segment a text; every character lasts a second."""
    segments: list[Segment] = []
    start = 0.0
    for i, text in enumerate(texts):
        end = start + len(text)
        segments.append(
            Segment(
                id=i,
                start=start,
                end=end,
                text=" " + text,
                tokens=(i, i + 1),
                avg_logprob=-0.25,
                compression_ratio=1.5,
                no_speech_prob=0.125,
                temperature=0.0,
                words=_words(text, start) if words else None,
            )
        )
        start = end
    return Transcript("en", 1.0, start, tuple(segments))


def _words(text: str, start: float) -> tuple[Word, ...]:
    words: list[Word] = []
    for word in text.split():
        words.append(Word(start, start + len(word), " " + word, 0.5))
        start += len(word) + 1
    return tuple(words)

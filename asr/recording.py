"""One recording on its way through the transcriber: what was read, decoded and is still to come."""

import dataclasses
from collections.abc import Iterable, Iterator

from torch import Tensor

from echoic.asr.reader import Reading
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word
from echoic.asr.windows import Window
from echoic.audio.silero import SAMPLE_RATE

UNDETERMINED = "und"


class Recording:
    """Collects the segments of one source.

    Attributes:
        source: where it comes from.
        windows: what is to be decoded, read on demand.
        language: code of what is spoken; None until it is known.
        language_probability: how sure that is, 1 where it was told.
        error: why it cannot be transcribed.
    """

    def __init__(self, source: Source, *, language: str | None = None) -> None:
        self.source = source
        self.windows: Iterator[Window] = iter(())
        self.language = language
        self.language_probability = 1.0
        self.error: Exception | None = None
        self._samples = 0
        self._decoded = 0
        self._told = 0.0
        self._finished = False
        self._segments: list[Segment] = []
        self._given = 0

    def count(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass blocks (1, T) through and note their length."""
        for block in blocks:
            self._samples += block.shape[1]
            yield block

    def next_window(self) -> Window | None:
        """Return the next window; None at the end, or when reading failed."""
        if self.error is not None:
            return None
        try:
            window = next(self.windows, None)
        except Exception as error:  # told in the outcome; the batch goes on
            self.fail(error)
            return None
        self._finished = window is None
        return window

    def news(self) -> float:
        """Return how many seconds are done that were not told before, silence included."""
        done = self._samples if self._finished else min(self._decoded, self._samples)
        seconds = done / SAMPLE_RATE
        told, self._told = self._told, max(self._told, seconds)
        return self._told - told

    def fail(self, error: Exception) -> None:
        """Note why this recording cannot be transcribed."""
        self.error = self.error or error

    def add(self, window: Window, reading: Reading) -> Window | None:
        """Take what was found in a window; return the end of it that is still to be read."""
        self._decoded += len(window.wav)
        offset = window.start / SAMPLE_RATE
        self._segments += [_shifted(segment, offset) for segment in reading.segments]
        return None if reading.rest is None else window.tail(reading.rest)

    def fresh_segments(self) -> list[Segment]:
        """Return the segments that were found since the last call."""
        fresh = self._segments[self._given :]
        self._given = len(self._segments)
        return fresh

    def outcome(self) -> Outcome:
        """Return how it ended."""
        if self.error is not None:
            return Outcome(self.source, None, self.error)
        segments = sorted(self._segments, key=lambda s: (s.start, s.end))
        transcript = Transcript(
            language=self.language or UNDETERMINED,
            language_probability=self.language_probability if self.language else 0.0,
            duration=round(self._samples / SAMPLE_RATE, 3),
            segments=tuple(dataclasses.replace(s, id=i) for i, s in enumerate(segments)),
        )
        return Outcome(self.source, transcript, None)


def _shifted(segment: Segment, offset: float) -> Segment:
    words = segment.words
    return dataclasses.replace(
        segment,
        start=round(offset + segment.start, 3),
        end=round(offset + segment.end, 3),
        words=None if words is None else tuple(_shifted_word(word, offset) for word in words),
    )


def _shifted_word(word: Word, offset: float) -> Word:
    return Word(
        round(word.start + offset, 3), round(word.end + offset, 3), word.word, word.probability
    )

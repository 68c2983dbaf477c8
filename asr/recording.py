"""One recording on its way through the transcriber: what was read, decoded and is still to come."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word
from echoic.asr.whisper.decoding import Decoded
from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.asr.whisper.segments import Span, last_time, text_spans
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.windows import Window

# The model sometimes stops before the speech does. Where it marked the time, and at least this
# much speech follows, the rest of the window is decoded once more.
MIN_REST_SECONDS = 1.5
NO_SPEECH = 0.6

UNDETERMINED = "und"


class Recording:
    """Collects the segments of one source.

    Attributes:
        source: where it comes from.
        windows: what is to be decoded, read on demand.
        language: code of what is spoken; None until it is known, or for English-only models.
        language_probability: how sure the model was, 1 where it was told.
        error: why it cannot be transcribed.
    """

    def __init__(
        self, source: Source, tokenizer: WhisperTokenizer, *, language: str | None = None
    ) -> None:
        self.source = source
        self.windows: Iterator[Window] = iter(())
        self.language = language if tokenizer.is_multilingual else None
        self.language_probability = 1.0
        self.error: Exception | None = None
        self._tokenizer = tokenizer
        self._samples = 0
        self._decoded = 0
        self._told = 0.0
        self._finished = False
        self._segments: list[Segment] = []

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

    def add(
        self, window: Window, decoded: Decoded, words: Sequence[Sequence[Word]] | None
    ) -> Window | None:
        """Take the decoding of a window.

        Args:
            window: where it lies.
            decoded: its text.
            words: for each span that `text_spans` returns, the words with times in the window.

        Returns:
            The end of the window, when the model stopped before the speech did.
        """
        self._decoded += len(window.wav)
        if decoded.is_silence:
            return None
        for index, span in enumerate(
            text_spans(self._tokenizer, decoded.hypothesis.tokens, window.seconds)
        ):
            timed = None if words is None else words[index]
            self._segments.append(self._segment(window, decoded, span, timed))
        return self._rest(window, decoded)

    def outcome(self) -> Outcome:
        """Return how it ended."""
        if self.error is not None:
            return Outcome(self.source, None, self.error)
        segments = sorted(self._segments, key=lambda s: (s.start, s.end))
        english_only = not self._tokenizer.is_multilingual
        known = "en" if english_only else self.language
        transcript = Transcript(
            language=known or UNDETERMINED,
            language_probability=self.language_probability if known else 0.0,
            duration=round(self._samples / SAMPLE_RATE, 3),
            segments=tuple(_numbered(segment, i) for i, segment in enumerate(segments)),
        )
        return Outcome(self.source, transcript, None)

    def _segment(
        self, window: Window, decoded: Decoded, span: Span, words: Sequence[Word] | None
    ) -> Segment:
        offset = window.start / SAMPLE_RATE
        start, end = span.start, span.end
        if words:  # what was heard is more exact than what the model wrote
            start, end = words[0].start, max(words[-1].end, words[0].start)
        return Segment(
            id=0,
            start=round(offset + start, 3),
            end=round(offset + end, 3),
            text=self._tokenizer.decode(span.tokens),
            tokens=span.tokens,
            avg_logprob=decoded.hypothesis.avg_logprob,
            compression_ratio=decoded.compression_ratio,
            no_speech_prob=decoded.hypothesis.no_speech_prob,
            temperature=decoded.temperature,
            words=None if words is None else tuple(_shifted(word, offset) for word in words),
        )

    def _rest(self, window: Window, decoded: Decoded) -> Window | None:
        reached = last_time(decoded.hypothesis.tokens, self._tokenizer.timestamp_begin)
        if reached is None or not decoded.hypothesis.complete or reached < MIN_REST_SECONDS:
            return None
        if decoded.hypothesis.no_speech_prob > NO_SPEECH:  # then it did not stop too early
            return None
        left = (window.speech_end - window.start) / SAMPLE_RATE - reached
        return window.tail(reached) if left >= MIN_REST_SECONDS else None


def _numbered(segment: Segment, number: int) -> Segment:
    return dataclasses.replace(segment, id=number)


def _shifted(word: Word, offset: float) -> Word:
    return Word(
        round(word.start + offset, 3), round(word.end + offset, 3), word.word, word.probability
    )

"""Windows read by Whisper: segments where the model marked times, and what it left unread."""

from collections.abc import Sequence

import torch

from echoic.asr.languages import LANGUAGES, language_code
from echoic.asr.options import TranscribeOptions
from echoic.asr.reader import Reading
from echoic.asr.transcript import Segment, Word
from echoic.asr.whisper.decoding import Decoded, WindowDecoder
from echoic.asr.whisper.language_adapter import check_language
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.segments import Span, last_time, text_spans
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.whisper.word_alignment import WordAligner
from echoic.asr.windows import Window

# The model sometimes stops before the speech does. Where it marked the time, and at least this
# much speech follows, the rest of the window is decoded once more.
MIN_REST_SECONDS = 1.5
NO_SPEECH = 0.6


class WhisperReader:
    """See `echoic.asr.reader.Reader`.

    Args:
        model: ready for inference.
        options: all are followed.

    Raises:
        ValueError: a language that the model does not know, or has no adapter of where it has some,
            or a translation that it cannot make.
    """

    def __init__(self, model: WhisperModel, options: TranscribeOptions) -> None:
        self._model = model
        self._multilingual = model.generation.is_multilingual
        self.language = _language(model, options)
        check_language(model, self.language)
        self.max_window_seconds = model.max_window_seconds
        self._decoder = WindowDecoder(model, options)

    @torch.inference_mode()
    def identify(self, window: Window) -> tuple[str, float] | None:
        """Return the likeliest language and its probability."""
        return self._decoder.detect_language(self._decoder.encode([window.wav]))[0]

    @torch.inference_mode()
    def read(self, windows: Sequence[Window], languages: Sequence[str | None]) -> list[Reading]:
        """Decode windows side by side; see `Reader`."""
        decoder, tokenizer = self._decoder, self._model.tokenizer
        spoken = list(languages) if self._multilingual else [None] * len(windows)
        encoded = decoder.encode([window.wav for window in windows], languages=languages)
        seeds = [decoder.options.seed + window.start for window in windows]
        decoded = decoder.decode(encoded, spoken, seeds)
        if not decoder.options.word_timestamps:
            return [read_out(tokenizer, *pair) for pair in zip(windows, decoded, strict=True)]
        times = WordAligner(decoder).align(encoded, decoded, spoken)
        return [read_out(tokenizer, *each) for each in zip(windows, decoded, times, strict=True)]


def read_out(
    tokenizer: WhisperTokenizer,
    window: Window,
    decoded: Decoded,
    words: Sequence[Sequence[Word]] | None = None,
) -> Reading:
    """Return the segments of a decoded window.

    Args:
        tokenizer: of the model.
        window: where it lies.
        decoded: its text.
        words: for each span that `text_spans` returns, the words with times in the window.
    """
    if decoded.is_silence:
        return Reading(())
    spans = text_spans(tokenizer, decoded.hypothesis.tokens, window.seconds)
    segments = tuple(
        _segment(tokenizer, decoded, span, None if words is None else words[index])
        for index, span in enumerate(spans)
    )
    return Reading(segments, _rest(tokenizer, window, decoded))


def _segment(
    tokenizer: WhisperTokenizer, decoded: Decoded, span: Span, words: Sequence[Word] | None
) -> Segment:
    start, end = span.start, span.end
    if words:  # what was heard is more exact than what the model wrote
        start, end = words[0].start, max(words[-1].end, words[0].start)
    return Segment(
        id=0,
        start=start,
        end=end,
        text=tokenizer.decode(span.tokens),
        tokens=span.tokens,
        avg_logprob=decoded.hypothesis.avg_logprob,
        compression_ratio=decoded.compression_ratio,
        no_speech_prob=decoded.hypothesis.no_speech_prob,
        temperature=decoded.temperature,
        words=None if words is None else tuple(words),
    )


def _rest(tokenizer: WhisperTokenizer, window: Window, decoded: Decoded) -> float | None:
    reached = last_time(decoded.hypothesis.tokens, tokenizer.timestamp_begin)
    if reached is None or not decoded.hypothesis.complete or reached < MIN_REST_SECONDS:
        return None
    if decoded.hypothesis.no_speech_prob > NO_SPEECH:  # then it did not stop too early
        return None
    left = (window.speech_end - window.start) / SAMPLE_RATE - reached
    return reached if left >= MIN_REST_SECONDS else None


def _language(model: WhisperModel, options: TranscribeOptions) -> str | None:
    code = None if options.language is None else language_code(options.language)
    if model.generation.is_multilingual:
        if code is not None:
            model.tokenizer.language_id(code)
        return code
    if code not in (None, "en") or options.task != "transcribe":
        wanted = "translation" if code in (None, "en") else LANGUAGES[code]
        raise ValueError(
            f"this model knows English only, not {wanted}; "
            "take a multilingual one, such as --model base"
        )
    return "en"

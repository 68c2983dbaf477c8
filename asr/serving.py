"""Recognisers as `echoic serve` takes them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from echoic.asr.batch.subtitles import Layout, srt, vtt
from echoic.asr.batch.writers import as_dict
from echoic.asr.languages import LANGUAGES, UNSPACED, language_code
from echoic.asr.models import open_reader
from echoic.asr.options import TranscribeOptions
from echoic.asr.recognizers import load_live
from echoic.asr.source import Source
from echoic.asr.transcriber import Transcriber
from echoic.asr.transcript import Transcript
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.audio.io import AudioDecodeError, info
from echoic.streaming.server.models import FileRequest, FileTranscript, LiveModel, Refused


def live_models(name: str, **settings: Any) -> list[LiveModel]:
    """Load a recogniser of live streams, and what it becomes by each of its adapters.

    Args:
        name: see `load_live`.
        **settings: see there; `adapters` are models by the names given to them.

    Raises:
        CheckpointError, ValueError: see `load_live`.
    """
    live = load_live(name, **settings)
    separator = "" if live.language in UNSPACED else " "
    found = [LiveModel(short_name(name), live.recognizer, live.language, separator=separator)]
    if isinstance(live.recognizer, CausalWhisper):
        for adapter in live.recognizer.engines.bank.names:
            recognizer = live.recognizer.with_adapter(adapter)
            found.append(LiveModel(adapter, recognizer, live.language, separator=separator))
    return found


def short_name(model: str) -> str:
    """Return how clients call a model: a folder by its last part, others as they are."""
    return Path(model).name if Path(model).expanduser().is_dir() else model


class ServedTranscriber:
    """A transcriber of recordings behind `FileTranscriber`.

    Args:
        name: by which clients ask for it.
        transcriber: what hears.

    Attributes:
        name: by which clients ask for it.
    """

    def __init__(self, name: str, transcriber: Transcriber) -> None:
        self.name = name
        self._transcriber = transcriber

    @classmethod
    def load(cls, name: str, **settings: Any) -> "ServedTranscriber":
        """Load a model; see `Transcriber.from_pretrained`."""
        return cls(short_name(name), Transcriber.from_pretrained(name, **settings))

    def check(self, request: FileRequest) -> None:
        """Raise Refused for what the model cannot do."""
        self._options(request)

    def transcribe(self, request: FileRequest) -> FileTranscript:
        """Write down a recording; see `FileTranscriber`."""
        options, source = self._options(request), _source(request)
        try:
            (outcome,) = self._transcriber.transcribe_many([source], options)
            if outcome.error is not None:
                raise outcome.error
        except AudioDecodeError as error:
            raise Refused(str(error), "file") from error
        assert outcome.transcript is not None
        _check_length(outcome.transcript.duration, request)
        return _answer(outcome.transcript, request)

    def stream(self, request: FileRequest) -> Iterator[str]:
        """Yield the text of segments as they are found; see `FileTranscriber`."""
        options, source, begun = self._options(request), _source(request), False
        try:
            for segment in self._transcriber.segments(source, options):
                if text := segment.text if begun else segment.text.lstrip():
                    begun = True
                    yield text
        except AudioDecodeError as error:
            raise Refused(str(error), "file") from error

    def _options(self, request: FileRequest) -> TranscribeOptions:
        try:
            language = None if request.language is None else language_code(request.language)
        except ValueError as error:
            raise Refused(str(error), "language") from error
        try:
            options = TranscribeOptions(
                language=language,
                task="translate" if request.translate else "transcribe",
                word_timestamps=request.words,
                prompt=request.prompt,
                hotwords=request.hotwords,
                beam_size=request.beam_size,
            )
            if request.vad is not None:
                options = replace(options, vad=request.vad)
            open_reader(self._transcriber.model, options)
        except ValueError as error:
            raise Refused(str(error)) from error
        return options


def _source(request: FileRequest) -> Source:
    """Return the recording, of which a little more than is allowed is read."""
    try:
        length = info(request.path).duration
    except AudioDecodeError as error:
        raise Refused(str(error), "file") from error
    if length is not None:
        _check_length(length, request)
    return Source(
        key=request.path, path=request.path, name=request.path, duration=request.max_seconds + 1
    )


def _check_length(seconds: float, request: FileRequest) -> None:
    if seconds > request.max_seconds:
        raise Refused(
            f"the recording lasts {seconds:.0f} s, and {request.max_seconds:.0f} s are the most: "
            "send it in parts",
            "file",
        )


def _answer(transcript: Transcript, request: FileRequest) -> FileTranscript:
    found = as_dict(transcript, tokens=True)
    code = found["language"]
    body = {
        "task": "translate" if request.translate else "transcribe",
        **found,
        "language": LANGUAGES.get(code, code),
        "language_code": code,
        "segments": [{**segment, "seek": 0} for segment in found["segments"]],
    }
    if request.words:
        body["words"] = [
            {**word, "word": word["word"].strip()}
            for segment in found["segments"]
            for word in segment.get("words", ())
        ]
    return FileTranscript(
        transcript.text,
        transcript.duration,
        body,
        srt(transcript, Layout()),
        vtt(transcript, Layout()),
    )

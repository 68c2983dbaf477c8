"""Recordings transcribed by a server (`echoic serve`) as if it were a model here."""

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from echoic.asr.errors import ServerError
from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript, Word

KEY_VARIABLE = "ECHOIC_API_KEY"
_CONNECT_SECONDS = 10.0
# An answer comes when all is transcribed.
_ANSWER_SECONDS = 3600.0
_TRIES = 10
_LONGEST_WAIT = 30.0
_SHARED = ("language", "prompt", "hotwords", "beam_size", "vad")


class RemoteTranscriber:
    """Sends recordings to a server, one after the other; a `BatchTranscriber`.

    Args:
        url: of the server, such as http://127.0.0.1:8000.
        model: name; None for the server's first.
        key: None for that in `ECHOIC_API_KEY`.
        sleep: waits so many seconds where the server is busy.

    Raises:
        ValueError: it is no address of a server.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base = server_url(url)
        self._model = model
        self._sleep = sleep
        key = key or os.environ.get(KEY_VARIABLE)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=False,
        )

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: TranscribeOptions,
        *,
        batch_size: int,
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Outcome]:
        """Yield an outcome for each source; see `BatchTranscriber`.

        How many windows are decoded at once is the server's to say.
        """
        fields = _fields(options, self._model)
        for source in sources:
            try:
                transcript = self._transcribe(source, options, fields)
            except (ValueError, OSError, httpx.HTTPError) as error:
                yield Outcome(source, None, self._told(error))
                continue
            if on_progress is not None:
                on_progress(transcript.duration)
            yield Outcome(source, transcript, None)

    def _told(self, error: Exception) -> Exception:
        if not isinstance(error, httpx.HTTPError):
            return error
        reason = str(error) or type(error).__name__
        return ServerError(f"{self._base} cannot be reached: {reason}; is `echoic serve` running?")

    def _transcribe(
        self, source: Source, options: TranscribeOptions, fields: dict[str, Any]
    ) -> Transcript:
        verb = "translations" if options.task == "translate" else "transcriptions"
        response = self._post(source, verb, fields)
        for _ in range(_TRIES):
            if response.status_code not in (429, 503):
                break
            self._sleep(_wait(response))
            response = self._post(source, verb, fields)
        if response.status_code != 200:
            raise ServerError(_reason(response))
        try:
            return _transcript(response.json())
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(f"{self._base} is no server of ours: {error!r}") from error

    def _post(self, source: Source, verb: str, fields: dict[str, Any]) -> httpx.Response:
        with _sound(source) as file:
            return self._client.post(
                f"{self._base}/audio/{verb}",
                data=fields,
                files={"file": (os.path.basename(source.path) or "sound", file)},
            )


def server_url(url: str) -> str:
    """Return the address below which a server has its routes.

    Raises:
        ValueError: it is no address of a server.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
        raise ValueError(f"--server is {url!r}; give one such as http://127.0.0.1:8000")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}/v1"


def _fields(options: TranscribeOptions, model: str | None) -> dict[str, Any]:
    usual = TranscribeOptions()
    fields: dict[str, Any] = {"response_format": "verbose_json"}
    for name in _SHARED:
        value = getattr(options, name)
        if value != getattr(usual, name):
            fields[name] = str(value).lower() if isinstance(value, bool) else value
    if options.word_timestamps:
        fields["timestamp_granularities[]"] = ["word", "segment"]
    if model is not None:
        fields["model"] = model
    return fields


def _sound(source: Source) -> Any:
    """Return a file to send: the recording, or the stretch of it, or what comes on stdin, as FLAC.

    Raises:
        AudioDecodeError, OSError: it cannot be read.
    """
    if not source.is_stdin and not source.offset and source.duration is None:
        return open(source.path, "rb")
    import soundfile

    from echoic.audio.io import load

    wav, rate = load(source.path, mono=True, offset=source.offset, duration=source.duration)
    file = io.BytesIO()
    soundfile.write(file, wav.T.numpy(), rate, format="FLAC", subtype="PCM_24")
    file.seek(0)
    return file


def _wait(response: httpx.Response) -> float:
    try:
        seconds = float(response.headers.get("retry-after", 1))
    except ValueError:
        seconds = 1.0
    return min(_LONGEST_WAIT, max(0.1, seconds))


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answers with status {response.status_code}; is it `echoic serve`?"


def _transcript(body: dict[str, Any]) -> Transcript:
    return Transcript(
        body["language_code"],
        body["language_probability"],
        body["duration"],
        tuple(_segment(fields) for fields in body["segments"]),
    )


def _segment(fields: dict[str, Any]) -> Segment:
    words = fields.get("words")
    return Segment(
        id=fields["id"],
        start=fields["start"],
        end=fields["end"],
        text=fields["text"],
        tokens=tuple(fields["tokens"]),
        avg_logprob=_number(fields["avg_logprob"]),
        compression_ratio=_number(fields["compression_ratio"]),
        no_speech_prob=_number(fields["no_speech_prob"]),
        temperature=fields["temperature"],
        words=None if words is None else tuple(_word(word) for word in words),
    )


def _word(fields: dict[str, Any]) -> Word:
    probability = _number(fields["probability"])
    return Word(fields["start"], fields["end"], fields["word"], probability)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value  # JSON has no word for what is not finite

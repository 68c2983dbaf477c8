"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`, as OpenAI's clients call them."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.errors import ApiError, invalid
from echoic.streaming.server.jobs import JobPool, begun
from echoic.streaming.server.models import (
    Catalog,
    FileRequest,
    FileTranscriber,
    FileTranscript,
    Refused,
    TextFormat,
)
from echoic.streaming.server.sse import Streamed, frame, last_words

Granularity = Literal["word", "segment"]

_ModelField = Annotated[str | None, Form(description="Name; the first served where left out.")]
_File = Annotated[UploadFile, File(description="Sound in any format.")]
_Format = Annotated[TextFormat, Form(description="Of the answer.")]
_Prompt = Annotated[str | None, Form(max_length=4096, description="Style, or names to expect.")]
_Language = Annotated[str | None, Form(max_length=40, description="Code or name.")]
_Temperature = Annotated[
    float, Form(ge=0, le=1, description="0 alone: decoding warms up by itself where it must.")
]
_Granularities = Annotated[
    list[Granularity] | None,
    Form(alias="timestamp_granularities[]", description="Of verbose_json: words need `word`."),
]
_Stream = Annotated[bool, Form(description="Text as events, while it is found.")]
_HotWords = Annotated[str | None, Form(max_length=4096, description="With commas between.")]
_Beam = Annotated[int, Form(ge=1, le=32, description="Hypotheses kept.")]
_Vad = Annotated[bool | None, Form(description="Leave out what is not speech.")]

_STRING = {"schema": {"type": "string"}}
_TEXT: dict[str, Any] = {
    "description": "What is said, in the form that was asked for, or events of it.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "usage": {"type": "object"}},
                "required": ["text", "usage"],
            }
        },
        **dict.fromkeys(("text/plain", "application/x-subrip", "text/vtt"), _STRING),
        "text/event-stream": {},
    },
}


def router(catalog: Catalog, config: ServerConfig, pool: JobPool) -> APIRouter:
    """Return the routes of recordings.

    Args:
        catalog: of models.
        config: of the server.
        pool: where recordings are transcribed.
    """
    routes = APIRouter()

    @routes.post(
        "/v1/audio/transcriptions",
        response_class=Response,
        responses={200: _TEXT},
        tags=["recordings"],
    )
    async def transcriptions(
        file: _File,
        model: _ModelField = None,
        language: _Language = None,
        prompt: _Prompt = None,
        response_format: _Format = "json",
        temperature: _Temperature = 0.0,
        granularities: _Granularities = None,
        stream: _Stream = False,
        hotwords: _HotWords = None,
        beam_size: _Beam = 1,
        vad: _Vad = None,
    ) -> Response:
        """Write down what is said in a recording."""
        request = FileRequest(
            "",
            language=language or None,
            prompt=prompt or None,
            hotwords=hotwords or None,
            beam_size=beam_size,
            vad=vad,
            words=_words(granularities, response_format),
            max_seconds=config.max_file_seconds,
        )
        _check_temperature(temperature)
        transcriber = catalog.transcriber(model)
        if stream:
            if response_format not in ("json", "text"):
                raise invalid("a stream is json or text", "response_format")
            return await _streamed(transcriber, request, file, pool)
        return await _whole(transcriber, request, file, pool, response_format)

    @routes.post(
        "/v1/audio/translations",
        response_class=Response,
        responses={200: _TEXT},
        tags=["recordings"],
    )
    async def translations(
        file: _File,
        model: _ModelField = None,
        prompt: _Prompt = None,
        response_format: _Format = "json",
        temperature: _Temperature = 0.0,
        granularities: _Granularities = None,
        beam_size: _Beam = 1,
        vad: _Vad = None,
    ) -> Response:
        """Write down in English what is said in a recording."""
        _check_temperature(temperature)
        request = FileRequest(
            "",
            prompt=prompt or None,
            translate=True,
            beam_size=beam_size,
            vad=vad,
            words=_words(granularities, response_format),
            max_seconds=config.max_file_seconds,
        )
        return await _whole(catalog.transcriber(model), request, file, pool, response_format)

    return routes


def _words(granularities: list[Granularity] | None, form: TextFormat) -> bool:
    if granularities and form != "verbose_json":
        raise invalid(
            "timestamp_granularities[] are those of verbose_json: ask for that format",
            "timestamp_granularities[]",
        )
    return "word" in (granularities or ())


def _check_temperature(temperature: float) -> None:
    if temperature != 0:
        raise invalid(
            "temperature is 0 here, and rises by itself where the text would repeat: leave it out",
            "temperature",
        )


async def _whole(
    transcriber: FileTranscriber,
    request: FileRequest,
    file: UploadFile,
    pool: JobPool,
    form: TextFormat,
) -> Response:
    _check(transcriber, request)

    def work() -> FileTranscript:
        with _as_file(file.file) as path:
            try:
                return transcriber.transcribe(replace(request, path=path))
            except Refused as error:
                raise _renamed(error, path, file.filename) from error

    async with pool.place():
        found = await pool.run(work)
    return _answer(found, form)


def _answer(found: FileTranscript, form: TextFormat) -> Response:
    usage = {"type": "duration", "seconds": found.duration}
    if form == "json":
        return JSONResponse({"text": found.text, "usage": usage})
    if form == "verbose_json":
        return JSONResponse({**found.body, "usage": usage})
    if form == "text":
        return PlainTextResponse(found.text + "\n")
    if form == "srt":
        return PlainTextResponse(found.srt, media_type="application/x-subrip; charset=utf-8")
    return PlainTextResponse(found.vtt, media_type="text/vtt; charset=utf-8")


async def _streamed(
    transcriber: FileTranscriber, request: FileRequest, file: UploadFile, pool: JobPool
) -> Response:
    _check(transcriber, request)
    pool.check()
    copy = await asyncio.to_thread(_copied, file.file)  # the upload is closed with this function

    def pieces() -> Iterator[str]:
        with copy, _as_file(copy) as path:
            try:
                yield from transcriber.stream(replace(request, path=path))
            except Refused as error:
                raise _renamed(error, path, file.filename) from error

    async def held() -> AsyncGenerator[str, None]:
        async with pool.place(), aclosing(pool.each(pieces)) as found:
            async for piece in found:
                yield piece

    first = await begun(held())

    async def events() -> AsyncGenerator[bytes, None]:
        text = ""
        async with aclosing(first):
            async for piece in first:
                text += piece
                yield frame({"type": "transcript.text.delta", "delta": piece})
        yield frame({"type": "transcript.text.done", "text": text})

    return Streamed(last_words(events()), "text/event-stream")


def _check(transcriber: FileTranscriber, request: FileRequest) -> None:
    try:
        transcriber.check(request)
    except Refused as error:
        raise invalid(str(error), error.param) from error


def _renamed(error: Refused, path: str, filename: str | None) -> ApiError:
    """Return a complaint that names the client's file, not ours."""
    name = "".join(c for c in os.path.basename(filename or "") if c.isprintable())[:100] or "file"
    return invalid(str(error).replace(path, name), error.param or "file", "bad_sound")


def _copied(file: BinaryIO) -> BinaryIO:
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    file.seek(0)
    shutil.copyfileobj(file, copy)
    return copy  # pyright: ignore[reportReturnType]


@contextmanager
def _as_file(file: BinaryIO) -> Iterator[str]:
    """Give an upload a path: some decoders need one."""
    with tempfile.NamedTemporaryFile(prefix="echoic-") as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy.name

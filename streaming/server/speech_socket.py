"""`/v1/audio/speech/stream`: text in, piece by piece, and sound out while it is spoken."""

import asyncio
import queue
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, get_args

from starlette.websockets import WebSocket

from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.encoders import PCM_RATE, SoundFormat
from echoic.streaming.server.errors import ApiError, invalid, shown
from echoic.streaming.server.guard import attended, chosen_subprotocol
from echoic.streaming.server.jobs import JobPool
from echoic.streaming.server.models import Catalog, Speaker
from echoic.streaming.server.speech import check_format, chosen_voice, encoded
from echoic.streaming.server.stream_socket import receive

_FIELDS = ("type", "model", "voice", "response_format", "seed")
# Text of one socket: as much as some hours of speech.
_MAX_TEXT = 200_000


async def serve_speech(
    socket: WebSocket, catalog: Catalog, config: ServerConfig, pool: JobPool
) -> None:
    """Answer one socket, until all is said or its client is gone."""
    await socket.accept(subprotocol=chosen_subprotocol(socket))
    await attended(socket, _Link(socket, catalog, config, pool).run())


class _Text:
    """Pieces of text between the socket and the worker that reads them."""

    def __init__(self) -> None:
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._length = 0

    def add(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MAX_TEXT:
            raise ApiError(413, f"more than {_MAX_TEXT} characters were sent", code="text_too_long")
        if text:  # empty ones would have no end
            self._pieces.put(text)

    def end(self) -> None:
        self._pieces.put(None)

    def __iter__(self) -> Iterator[str]:
        while (piece := self._pieces.get()) is not None:
            yield piece


class _Link:
    def __init__(
        self, socket: WebSocket, catalog: Catalog, config: ServerConfig, pool: JobPool
    ) -> None:
        self._socket = socket
        self._catalog = catalog
        self._config = config
        self._pool = pool
        self._text = _Text()

    async def run(self) -> None:
        first = await receive(self._socket, self._config.start_seconds)
        if not isinstance(first, dict) or first.get("type") not in ("start", "text"):
            raise invalid('begin with {"type": "start"} or {"type": "text"}', "type", "bad_message")
        start = first if first["type"] == "start" else {}
        if unknown := [name for name in start if name not in _FIELDS]:
            raise invalid(f"{shown(unknown[0])} is no field of start", unknown[0][:80])
        speaker = self._catalog.speaker(_word(start, "model"))
        voice = chosen_voice(speaker, _word(start, "voice"))
        form = _word(start, "response_format") or "pcm"
        if form not in get_args(SoundFormat):
            choices = ", ".join(get_args(SoundFormat))
            raise invalid(f"response_format is unknown: expected {choices}", "response_format")
        check_format(form)
        seed = start.get("seed", 0)
        if type(seed) is not int or not 0 <= seed < 2**31:
            raise invalid("seed is no whole number of 31 bits", "seed")
        if first["type"] == "text":
            self._obey(first)
        async with self._pool.place():
            await self._speak(speaker, voice, seed, form)  # pyright: ignore[reportArgumentType]

    async def _speak(self, speaker: Speaker, voice: str, seed: int, form: SoundFormat) -> None:
        rate = PCM_RATE if form == "pcm" else speaker.sample_rate
        await self._socket.send_json(
            {
                "type": "session",
                "model": speaker.name,
                "voice": voice,
                "response_format": form,
                "sample_rate": rate,
            }
        )
        reading = asyncio.create_task(self._read())
        telling = asyncio.create_task(self._tell(speaker, voice, seed, form))
        try:
            await asyncio.wait((reading, telling), return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and (error := reading.exception()) is not None:
                raise error
            await telling
        finally:
            self._text.end()
            for task in (reading, telling):
                task.cancel()
            await asyncio.gather(reading, telling, return_exceptions=True)
        await self._socket.send_json({"type": "done"})
        await self._socket.close(1000)

    async def _read(self) -> None:
        """Take text until eof."""
        while self._obey(await receive(self._socket, self._config.idle_seconds)):
            pass
        self._text.end()

    def _obey(self, message: dict[str, Any] | bytes) -> bool:
        """Take a message; returns False for the last one."""
        kind = message.get("type") if isinstance(message, dict) else "bytes"
        if isinstance(message, dict) and kind == "text":
            if not isinstance(text := message.get("text"), str):
                raise invalid("text is no text", "text", "bad_message")
            self._text.add(text)
        elif kind not in ("eof", "ping"):
            raise invalid(
                f"no message is of type {shown(str(kind))}: expected text, eof or ping",
                "type",
                "bad_message",
            )
        return kind != "eof"

    async def _tell(self, speaker: Speaker, voice: str, seed: int, form: SoundFormat) -> None:
        pieces = self._pool.each(lambda: encoded(speaker, self._text, voice, seed, form))
        async with aclosing(pieces):
            async for piece in pieces:
                await self._socket.send_bytes(piece)


def _word(start: dict[str, Any], name: str) -> str | None:
    value = start.get(name)
    if not isinstance(value, str | None):
        raise invalid(f"{name} is not text", name)
    return value

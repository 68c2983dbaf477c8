"""`/v1/stream`: sound in, events out, over one WebSocket; see the README for the protocol."""

import asyncio
import json
import logging
from typing import Any, NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.errors import ApiError, invalid, shown
from echoic.streaming.server.frames import FrameDecoder, Samples, open_decoder
from echoic.streaming.server.guard import attended, chosen_subprotocol
from echoic.streaming.server.kept import KeptSession
from echoic.streaming.server.sessions import Sessions
from echoic.streaming.server.stream_settings import StreamSettings

log = logging.getLogger(__name__)

# How long a client may take to close a socket on which everything was said.
_GOODBYE_SECONDS = 1.0
# Between two looks at what was decoded.
_DECODING_SECONDS = 0.01
# Silence that is heard for sound that a client that comes back has no more.
_LONGEST_GAP = 60.0
_ENDED_BY_CLIENT = (1000, 1005)


class _Left(NamedTuple):
    """How a socket ended: its close code, and whether we are to close it."""

    code: int
    reason: str = ""
    is_ours: bool = False


async def serve_stream(socket: WebSocket, sessions: Sessions, config: ServerConfig) -> None:
    """Answer one socket, until it or its session ends."""
    await socket.accept(subprotocol=chosen_subprotocol(socket))
    await attended(socket, _Link(socket, sessions, config).run())


async def receive(socket: WebSocket, seconds: float) -> dict[str, Any] | bytes:
    """Return the next message: bytes, or an object of JSON.

    Raises:
        ApiError: it is no object of JSON, or none came in time (408).
        WebSocketDisconnect: the client is gone.
    """
    try:
        message = await asyncio.wait_for(socket.receive(), seconds)
    except TimeoutError as error:
        raise ApiError(
            408, f"no message came for {seconds:g} s: send sound or eof", code="idle"
        ) from error
    if message["type"] == "websocket.disconnect":
        code = message.get("code", 1006)
        if code == 1005 and "reason" not in message:  # uvicorn says so of broken connections, too
            code = 1006
        raise WebSocketDisconnect(code, message.get("reason"))
    if (data := message.get("bytes")) is not None:
        return data
    return json_object(message.get("text") or "")


def json_object(text: str) -> dict[str, Any]:
    """Read a text message.

    Raises:
        ApiError: it is no object of JSON.
    """
    try:
        found = json.loads(text)
        if "\\u" in text:  # may be halves of characters, which no answer could repeat
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid("the text message is no JSON", code="bad_message") from error
    if not isinstance(found, dict):
        raise invalid("the text message is no object of JSON", code="bad_message")
    return found


class _Link:
    def __init__(self, socket: WebSocket, sessions: Sessions, config: ServerConfig) -> None:
        self._socket = socket
        self._sessions = sessions
        self._config = config
        self._parting: asyncio.Future[_Left] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        first = await receive(self._socket, self._config.start_seconds)
        start = first if isinstance(first, dict) else None
        if start is not None and start.get("type") != "start":
            raise invalid('begin with {"type": "start"}, or with sound', "type", "bad_message")
        settings = StreamSettings.read(dict(self._socket.query_params), start)
        if settings.resume is None:
            session = await self._sessions.open(settings)
        else:
            session = await self._sessions.resume(settings.resume)
        session.part = self._part
        session.left_at = None
        decoder: FrameDecoder | None = None
        left = _Left(1006)
        try:
            decoder = open_decoder(_like_before(settings, session))
            await self._greet(session, settings)
            left = await self._both_ways(
                session, decoder, None if isinstance(first, dict) else first, settings.seq
            )
        except WebSocketDisconnect as error:
            left = _Left(error.code)
        finally:
            if decoder is not None:
                decoder.close()
            self._let_go(session, left)
        if left.is_ours and self._socket.client_state == WebSocketState.CONNECTED:
            await self._socket.close(left.code, left.reason)

    def _part(self, code: int, reason: str) -> None:
        if not self._parting.done():
            self._parting.set_result(_Left(code, reason, is_ours=True))

    def _let_go(self, session: KeptSession, left: _Left) -> None:
        if session.part != self._part:  # another socket has it
            return
        heard_all = left.code in _ENDED_BY_CLIENT and not left.is_ours
        if session.ended and (heard_all or left.code in (1011, 4413)):
            self._sessions.forget(session)
        else:
            self._sessions.leave(session)

    async def _greet(self, session: KeptSession, settings: StreamSettings) -> None:
        if settings.resume is not None:
            session.log.acknowledge(settings.seq)
            await session.fill_gap(settings.from_position, _LONGEST_GAP)
        await self._socket.send_json(
            {
                "type": "session",
                "id": session.identity.id,
                "model": session.identity.model,
                "language": session.model.language,
                "sample_rate": session.identity.sample_rate,
                "position": session.received,
            }
        )

    async def _both_ways(
        self, session: KeptSession, decoder: FrameDecoder, first: bytes | None, seq: int
    ) -> _Left:
        hearing = asyncio.create_task(self._hear(session, decoder, first))
        telling = asyncio.create_task(self._tell(session, seq))
        try:
            await asyncio.wait(
                (hearing, telling, self._parting), return_when=asyncio.FIRST_COMPLETED
            )
            if self._parting.done():
                return self._parting.result()
            if hearing.done():
                return hearing.result()
            left = telling.result()
            # All is said: the client closes, which tells that it has read it.
            await asyncio.wait(
                (hearing, self._parting),
                timeout=_GOODBYE_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if hearing.done() and hearing.exception() is None:
                return hearing.result()
            return left
        finally:
            for task in (hearing, telling):
                task.cancel()
            await asyncio.gather(hearing, telling, return_exceptions=True)

    async def _hear(
        self, session: KeptSession, decoder: FrameDecoder, first: bytes | None
    ) -> _Left:
        """Take messages until the client is gone."""
        message: dict[str, Any] | bytes | None = first
        while True:
            if isinstance(message, bytes):
                await self._take(session, decoder, message)
            elif message is not None:
                await self._obey(session, decoder, message)
            seconds = 3600.0 if session.finishing else self._config.idle_seconds
            try:
                message = await receive(self._socket, seconds)
            except WebSocketDisconnect as gone:
                return _Left(gone.code)
            await asyncio.sleep(0)  # a flood of small messages lets others come in between

    async def _take(self, session: KeptSession, decoder: FrameDecoder, data: bytes) -> None:
        if len(data) > self._config.max_frame_bytes:
            raise ApiError(
                413,
                f"a message has {len(data)} bytes, and {self._config.max_frame_bytes} are the "
                "most: send shorter ones",
                code="frame_too_large",
            )
        if session.finishing:
            return
        await self._decode(session, decoder, decoder.feed(data))

    async def _decode(
        self, session: KeptSession, decoder: FrameDecoder, ready: list[Samples]
    ) -> None:
        """Take the sound that is decoded, and what is about to be: the client waits for it."""
        while True:
            is_busy = decoder.is_busy  # asked first: what comes after the question is not lost
            for wav in ready:
                await session.take(wav, decoder.sample_rate)
                if session.seconds > self._config.max_stream_seconds:
                    session.overlong = True
                    await session.finish()
                    return
            if not is_busy:
                return
            await asyncio.sleep(_DECODING_SECONDS)
            ready = decoder.feed(b"")

    async def _obey(
        self, session: KeptSession, decoder: FrameDecoder, message: dict[str, Any]
    ) -> None:
        kind = message.get("type")
        if kind == "eof":
            if session.finishing:
                return
            decoder.end()
            await self._decode(session, decoder, decoder.feed(b""))
            await session.finish()
        elif kind == "ack":
            seq = message.get("seq")
            if type(seq) is not int or seq < 0:
                raise invalid("seq of an ack is not a whole number", "seq", "bad_message")
            session.log.acknowledge(seq)
        elif kind != "ping":
            raise invalid(
                f"no message is of type {shown(str(kind))}: expected eof, ack or ping",
                "type",
                "bad_message",
            )

    async def _tell(self, session: KeptSession, seq: int) -> _Left:
        """Send what becomes known, until all was said."""
        safe = session.received
        while True:
            session.changed.clear()
            for event in session.log.since(seq):
                seq = event["seq"]
                await self._socket.send_json(event)
            if session.safe > safe:
                safe = session.safe
                await self._socket.send_json({"type": "ack", "position": safe})
            if session.ended and not session.log.since(seq):
                return await self._say_goodbye(session)
            await session.changed.wait()

    async def _say_goodbye(self, session: KeptSession) -> _Left:
        if session.error is not None:
            log.error("session %s failed", session.identity.id, exc_info=session.error)
            await self._say_error("recognizer_failed", "the recogniser failed at this stream")
            return _Left(1011, "recognizer_failed", is_ours=True)
        if session.overlong:
            await self._say_error(
                "stream_too_long",
                f"a session may last {self._config.max_stream_seconds:g} s: begin another one",
            )
            return _Left(4413, "stream_too_long", is_ours=True)
        await self._socket.send_json({"type": "done", "position": session.received})
        return _Left(1000, "done", is_ours=True)

    async def _say_error(self, code: str, message: str) -> None:
        await self._socket.send_json({"type": "error", "code": code, "message": message})


def _like_before(settings: StreamSettings, session: KeptSession) -> StreamSettings:
    """Return the settings that a session began with: its sound does not change its form."""
    before = session.identity
    return StreamSettings(
        sample_rate=before.sample_rate,
        encoding=before.encoding,  # pyright: ignore[reportArgumentType]
        channels=before.channels,
        model=settings.model,
    )

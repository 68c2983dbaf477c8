"""`/v1/realtime`: the transcription part of OpenAI's realtime protocol."""

import asyncio
import base64
import binascii
import logging
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from echoic.streaming.events import Event
from echoic.streaming.scheduler import Stream
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.errors import ApiError, invalid, shown
from echoic.streaming.server.guard import CLOSE_CODES, attended, chosen_subprotocol
from echoic.streaming.server.realtime_items import Item, new_id
from echoic.streaming.server.realtime_settings import RATE, RealtimeSettings
from echoic.streaming.server.sessions import RESTARTING, Sessions, check_language
from echoic.streaming.server.stream_socket import receive

log = logging.getLogger(__name__)

_FULL_SECONDS = 0.05
# Turns of one socket that are heard at once, and events of theirs that wait to be told.
_MAX_TURNS, _MAX_UNTOLD = 4, 1000
# Of a turn: shorter ones are a client's mistake, as OpenAI's server says, too.
_SHORTEST_TURN = 0.1


async def serve_realtime(socket: WebSocket, sessions: Sessions, config: ServerConfig) -> None:
    """Answer one socket, until its client goes."""
    await socket.accept(subprotocol=chosen_subprotocol(socket))
    link = _Link(socket, sessions, config)
    try:
        await attended(socket, link.run())
    finally:
        link.close()


class _Turn:
    """Sound up to a commit, in a stream of its own; silence may cut it into several items."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.seconds = self.billed = 0.0
        self.item: Item | None = None
        self.dropped = False


class _Link:
    def __init__(self, socket: WebSocket, sessions: Sessions, config: ServerConfig) -> None:
        self._socket = socket
        self._sessions = sessions
        self._config = config
        self._id = new_id("sess")
        self._settings = RealtimeSettings()
        self._turn: _Turn | None = None
        self._open: set[_Turn] = set()
        self._events: asyncio.Queue[tuple[_Turn, Any]] = asyncio.Queue()
        self._last_item: str | None = None
        self._seconds = 0.0
        self._leave_drains = sessions.at_drain(self._drain)

    async def run(self) -> None:
        query = self._socket.query_params
        model = query.get("model")
        if model is not None and model in self._sessions.catalog.names():
            self._settings = RealtimeSettings(model)
        await self._say_session("session.created")
        hearing, telling = asyncio.create_task(self._hear()), asyncio.create_task(self._tell())
        try:
            await asyncio.wait((hearing, telling), return_when=asyncio.FIRST_COMPLETED)
            for task in (hearing, telling):
                if task.done():
                    task.result()
        finally:
            for task in (hearing, telling):
                task.cancel()
            await asyncio.gather(hearing, telling, return_exceptions=True)

    async def _hear(self) -> None:
        """Take messages until the client is gone, or is to go."""
        while True:
            try:
                message = await receive(self._socket, self._config.idle_seconds)
                await self._obey(message)
            except ApiError as error:
                await self._say_error(error)
                if error.status in (408, 413, 503):
                    await self._socket.close(CLOSE_CODES[error.status], error.code or "")
                    return

    def close(self) -> None:
        """Give up what is not heard yet."""
        self._leave_drains()
        for turn in self._open:
            turn.stream.finish(discard=True)

    async def _obey(self, message: dict[str, Any] | bytes) -> None:
        if isinstance(message, bytes):
            raise invalid("sound comes as input_audio_buffer.append, in base64", code="bad_message")
        kind = message.get("type")
        if kind in ("session.update", "transcription_session.update"):
            settings = self._settings.updated(message.get("session"))
            check_language(self._sessions.catalog.live_model(settings.model), settings.language)
            self._settings = settings
            await self._say_session(f"{str(kind).removesuffix('.update')}.updated")
        elif kind == "input_audio_buffer.append":
            await self._append(_sound(message.get("audio"), self._config.max_frame_bytes))
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            if self._turn is not None:
                self._turn.dropped = True
                self._turn.stream.finish(discard=True)
                self._turn = None
            await self._say({"type": "input_audio_buffer.cleared"})
        else:
            raise invalid(f"{shown(str(kind))} is not served here", "type", "unknown_event")

    async def _append(self, wav: np.ndarray[Any, Any]) -> None:
        if self._turn is None:
            self._turn = await self._begin()
        turn, seconds = self._turn, len(wav) / RATE
        try:
            for start in range(0, len(wav), RATE):
                # Whoever does not read what is told is not heard either.
                while self._events.qsize() > _MAX_UNTOLD or not turn.stream.put(
                    wav[start : start + RATE], RATE
                ):
                    await asyncio.sleep(_FULL_SECONDS)
        except RuntimeError:  # it has ended; if by a failure, `on_end` says why
            return
        turn.seconds += seconds
        self._seconds += seconds
        if self._seconds > self._config.max_stream_seconds:
            raise ApiError(413, "the session has lasted too long", code="stream_too_long")

    async def _begin(self) -> _Turn:
        while len(self._open) >= _MAX_TURNS:
            await asyncio.sleep(_FULL_SECONDS)
        loop, queue = asyncio.get_running_loop(), self._events
        model = self._sessions.catalog.live_model(self._settings.model)

        def soon(what: Any) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, (turn, what))
            except RuntimeError:  # the loop is closed
                return

        def on_end(error: Exception | None) -> None:
            soon(error or StopAsyncIteration())

        stream = await self._sessions.open_stream(model, RATE, on_event=soon, on_end=on_end)
        turn = _Turn(stream)
        self._open.add(turn)
        return turn

    async def _commit(self) -> None:
        turn = self._turn
        if turn is None or turn.seconds < _SHORTEST_TURN:
            raise invalid(
                f"{0 if turn is None else 1000 * turn.seconds:.0f} ms of sound are in the buffer: "
                f"commit {1000 * _SHORTEST_TURN:.0f} ms or more",
                code="input_audio_buffer_commit_empty",
            )
        self._turn = None
        await self._committed(self._item(turn))
        turn.stream.finish()

    def _item(self, turn: _Turn) -> Item:
        if turn.item is None:
            model = self._sessions.catalog.live_model(self._settings.model)
            turn.item = Item(model.separator)
        return turn.item

    async def _tell(self) -> None:
        while True:
            turn, what = await self._events.get()
            if not turn.dropped and isinstance(what, Event):
                await self._tell_event(turn, what)
            elif isinstance(what, Exception):
                self._open.discard(turn)
                if not turn.dropped:
                    await self._end(turn, what)
                if self._turn is turn:
                    self._turn = None

    async def _tell_event(self, turn: _Turn, event: Event) -> None:
        if event.type == "endpoint":
            if self._settings.turns and turn.item is not None and turn is self._turn:
                await self._committed(turn.item)
                await self._complete(turn, event.audio_time)
            return
        item = self._item(turn)
        if delta := item.add(event):
            await self._say(
                {
                    "type": "conversation.item.input_audio_transcription.delta",
                    "item_id": item.id,
                    "content_index": 0,
                    "delta": delta,
                }
            )

    async def _end(self, turn: _Turn, why: Exception) -> None:
        if isinstance(why, StopAsyncIteration):
            if turn.item is not None:
                await self._complete(turn, turn.seconds)
            return
        log.error("a realtime stream failed", exc_info=why)
        await self._say_error(ApiError(500, "the recogniser failed", code="recognizer_failed"))

    async def _complete(self, turn: _Turn, until: float) -> None:
        item, turn.item = self._item(turn), None
        seconds, turn.billed = until - turn.billed, until
        await self._say(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": item.id,
                "content_index": 0,
                "transcript": item.closed,
                "usage": {"type": "duration", "seconds": round(seconds, 3)},
            }
        )

    async def _committed(self, item: Item) -> None:
        before, self._last_item = self._last_item, item.id
        await self._say(
            {
                "type": "input_audio_buffer.committed",
                "item_id": item.id,
                "previous_item_id": before,
            }
        )

    async def _drain(self) -> None:
        """Let the last words out, and end."""
        if self._turn is not None:
            turn, self._turn = self._turn, None
            turn.stream.finish()
        while self._open:
            await asyncio.sleep(0.02)
        await self._socket.close(RESTARTING, "the server stops")

    async def _say_session(self, kind: str) -> None:
        model = self._sessions.catalog.live_model(self._settings.model).name
        await self._say({"type": kind, "session": self._settings.to_dict(self._id, model)})

    async def _say_error(self, error: ApiError) -> None:
        await self._say({"type": "error", **error.body})

    async def _say(self, fields: dict[str, Any]) -> None:
        await self._socket.send_json({"event_id": new_id("event"), **fields})


def _sound(text: Any, most: int) -> np.ndarray[Any, Any]:
    """Return (n,) int16."""
    if not isinstance(text, str):
        raise invalid("audio is no text of base64", "audio", "bad_message")
    if len(text) > most:
        raise ApiError(413, f"audio is longer than {most} bytes: append less at once")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("audio is no base64", "audio", "bad_message") from error
    if len(data) % 2:
        raise invalid("audio has half a sample: send pcm of 16 bits", "audio", "bad_message")
    return np.frombuffer(data, "<i2").astype(np.int16)

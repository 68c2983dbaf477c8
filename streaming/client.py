"""A client of `echoic serve`: sound in, events out, through broken sockets and restarts.

for event in stream("http://127.0.0.1:8000", microphone(), sample_rate=16_000):
    print(event.text)
"""

import asyncio
import contextlib
import json
import os
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from echoic.streaming.events import Event

KEY_VARIABLE = "ECHOIC_API_KEY"
# Close codes behind which trying again leads nowhere.
_FATAL = frozenset({1011, 4400, 4401, 4403, 4404, 4413})
# Errors behind which the session goes on.
_PASSING = ("idle",)
_PING_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 2.0
_MESSAGE_BYTES = 1 << 16


class StreamError(RuntimeError):
    """The server refuses the stream, or cannot be reached; the message is its own.

    Attributes:
        code: the server's word for it, such as "invalid_api_key".
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a stream is, and how long to try.

    Attributes:
        sample_rate: Hz of the sound.
        encoding: "pcm_s16le" or "f32le".
        channels: interleaved.
        model: name; None for the server's first.
        language: code; None as the model has it.
        key: None for that in `ECHOIC_API_KEY`.
        patience: seconds without a connection after which it is given up.
        max_kept_seconds: sound that may wait for the server to be safe; more is not read until
            then.
    """

    sample_rate: int = 16_000
    encoding: str = "pcm_s16le"
    channels: int = 1
    model: str | None = None
    language: str | None = None
    key: str | None = None
    patience: float = 60.0
    max_kept_seconds: float = 120.0

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return (4 if self.encoding == "f32le" else 2) * self.channels


class _Kept:
    """Sound that the server may ask for again, by the position of its samples."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame = frame_bytes
        self._pieces: deque[bytes] = deque()
        self.start = 0
        self.end = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        joined = self._rest + data
        whole = len(joined) // self._frame * self._frame
        self._rest = joined[whole:]
        for at in range(0, whole, _MESSAGE_BYTES // self._frame * self._frame):
            piece = joined[at : min(whole, at + _MESSAGE_BYTES // self._frame * self._frame)]
            self._pieces.append(piece)
            self.end += len(piece) // self._frame

    def forget(self, position: int) -> None:
        while self._pieces and self.start + len(self._pieces[0]) // self._frame <= position:
            self.start += len(self._pieces.popleft()) // self._frame

    def after(self, position: int) -> bytes | None:
        """Return the next piece from a position on; None where there is none yet."""
        at = self.start
        for piece in self._pieces:
            end = at + len(piece) // self._frame
            if position < end:
                return piece[max(0, position - at) * self._frame :]
            at = end
        return None


class StreamClient:
    """One stream; see `stream` and `astream` for the usual use.

    Args:
        url: of the server, such as http://127.0.0.1:8000.
        options: what the stream is.

    Attributes:
        session_id: by which the server knows it; None before the first answer.
        reconnects: how often the connection was made again.
    """

    def __init__(self, url: str, options: StreamOptions | None = None) -> None:
        self.options = StreamOptions() if options is None else options
        self.session_id: str | None = None
        self.reconnects = 0
        self._url = socket_url(url)
        self._kept = _Kept(self.options.frame_bytes)
        self._changed = asyncio.Condition()
        self._at_end = False
        self._seq = 0
        self._source_error: BaseException | None = None

    async def events(self, sound: AsyncIterator[bytes] | Iterable[bytes]) -> AsyncIterator[Event]:
        """Send sound and yield what becomes known, until all was heard.

        Args:
            sound: bytes in the options' encoding, in pieces of any length.

        Raises:
            StreamError: the server refuses it, or cannot be reached for too long.
        """
        reading = asyncio.create_task(self._read(sound))
        try:
            async for event in self._talk():
                yield event
            if self._source_error is not None:
                raise self._source_error
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, sound: AsyncIterator[bytes] | Iterable[bytes]) -> None:
        most = self.options.max_kept_seconds * self.options.sample_rate
        try:
            async for data in _asynchronous(sound):
                async with self._changed:
                    self._kept.add(data)
                    self._changed.notify_all()
                    await self._changed.wait_for(lambda: self._kept.end - self._kept.start < most)
        except Exception as error:  # told when what was read is heard
            self._source_error = error
        finally:
            self._at_end = True
            async with self._changed:
                self._changed.notify_all()

    async def _talk(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        wait, lost_at = _FIRST_WAIT, loop.time()
        while True:
            pause, connected = wait, False
            try:
                async with self._connection() as socket:
                    async for message in self._exchange(socket):
                        kind = message.get("type")
                        if kind == "done":
                            return
                        if kind == "busy":
                            pause = float(message["retry_after"])
                        elif kind == "session":
                            connected = True
                        elif (event := self._event(message)) is not None:
                            yield event
                            await _acknowledge(socket, event, self._seq)
            except (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage) as error:
                reason = str(error)
            else:
                reason = "the server closed the connection"
            if connected:
                lost_at, pause = loop.time(), _FIRST_WAIT
            if loop.time() - lost_at + pause > self.options.patience:
                raise StreamError(f"{self._url} cannot be reached: {reason}", "unreachable")
            await asyncio.sleep(pause)
            self.reconnects += 1
            wait = min(_LONGEST_WAIT, 2 * pause)

    def _connection(self) -> Any:
        key = self.options.key or os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return connect(
            self._url,
            additional_headers=headers,
            subprotocols=[Subprotocol("echoic")],
            compression=None,  # sound hardly gets smaller, and it takes long
            max_size=None,
        )

    async def _exchange(self, socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
        await socket.send(json.dumps(self._start()))
        sending: asyncio.Task[None] | None = None
        try:
            async for text in socket:
                message = json.loads(text)
                kind = message.get("type")
                if kind == "error" and message["code"] not in _PASSING:
                    raise StreamError(message["message"], message["code"])
                if kind == "session":
                    self.session_id = message["id"]
                    sending = asyncio.create_task(self._send(socket, message["position"]))
                elif kind == "ack":
                    async with self._changed:
                        self._kept.forget(message["position"])
                        self._changed.notify_all()
                yield message
            if socket.close_code in _FATAL:
                raise StreamError(socket.close_reason or f"closed with {socket.close_code}")
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    def _start(self) -> dict[str, Any]:
        options = self.options
        start: dict[str, Any] = {
            "type": "start",
            "sample_rate": options.sample_rate,
            "encoding": options.encoding,
            "channels": options.channels,
            "model": options.model,
            "language": options.language,
        }
        if self.session_id is not None:
            start |= {"resume": self.session_id, "from": self._kept.start, "seq": self._seq}
        return {name: value for name, value in start.items() if value is not None}

    async def _send(self, socket: ClientConnection, position: int) -> None:
        while True:
            piece = await self._next(position)
            if piece == b"":
                await socket.send('{"type": "ping"}')
                continue
            if piece is None:
                await socket.send('{"type": "eof"}')
                return
            await socket.send(piece)
            position += len(piece) // self.options.frame_bytes

    async def _next(self, position: int) -> bytes | None:
        """Wait for sound; returns none of it where it took long, and None at the end."""
        try:
            async with asyncio.timeout(_PING_SECONDS), self._changed:
                await self._changed.wait_for(
                    lambda: self._at_end or self._kept.after(position) is not None
                )
                return self._kept.after(position)
        except TimeoutError:
            return b""

    def _event(self, message: dict[str, Any]) -> Event | None:
        """Return an event that is new; after a restart the server tells some again."""
        if "seq" not in message:
            return None
        seq = message.pop("seq")
        if seq <= self._seq:
            return None
        self._seq = seq
        return Event.from_dict(message)


async def astream(
    url: str, sound: AsyncIterator[bytes] | Iterable[bytes], **options: Any
) -> AsyncIterator[Event]:
    """Send sound to a server and yield its events.

    Args:
        url: of the server.
        sound: bytes of samples, as they come or as fast as they are taken.
        **options: see `StreamOptions`.

    Raises:
        StreamError: see `StreamClient.events`.
    """
    async for event in StreamClient(url, StreamOptions(**options)).events(sound):
        yield event


def stream(url: str, sound: Iterable[bytes], **options: Any) -> Iterator[Event]:
    """Send sound to a server and yield its events; `astream` for programs without asyncio."""
    return _in_thread(url, sound, StreamOptions(**options))


def stream_file(url: str, path: str | os.PathLike[str], **options: Any) -> Iterator[Event]:
    """Send a sound file of any format, as fast as the server hears it.

    Raises:
        AudioDecodeError, OSError: it is no sound, or cannot be read.
        StreamError: see `StreamClient.events`.
    """
    rate = options.setdefault("sample_rate", 16_000)
    return stream(url, _samples(Path(path), rate), **options)


def _samples(path: Path, rate: int) -> Iterator[bytes]:
    from echoic.audio.io import blocks

    for block in blocks(path, seconds=0.5, sample_rate=rate, mono=True):
        yield (block[0].clamp(-1, 1) * 32767).round().short().numpy().astype("<i2").tobytes()


def _in_thread(url: str, sound: Iterable[bytes], options: StreamOptions) -> Iterator[Event]:
    told: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    task: asyncio.Task[None] | None = None

    async def work() -> None:
        async for event in StreamClient(url, options).events(sound):
            told.put(event)

    def run() -> None:
        nonlocal task
        try:
            task = loop.create_task(work())
            loop.run_until_complete(task)
            told.put(None)
        except BaseException as error:
            told.put(error)
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="echoic-client", daemon=True)
    thread.start()
    try:
        while (item := told.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        if task is not None:
            with contextlib.suppress(RuntimeError):  # it is over
                loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=5)


def socket_url(url: str) -> str:
    """Return the address of the stream's socket.

    Raises:
        ValueError: it is no address of a server.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError(f"{url!r} is no server: give one such as http://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/v1/stream") else f"{path.removesuffix('/v1')}/v1/stream"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, parts.query, ""))


async def _acknowledge(socket: ClientConnection, event: Event, seq: int) -> None:
    if event.type != "partial":
        await socket.send(json.dumps({"type": "ack", "seq": seq}))


async def _asynchronous(sound: AsyncIterator[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield from either kind of iterator; a slow one does not hold up the loop."""
    if isinstance(sound, AsyncIterator):
        async for data in sound:
            yield data
        return
    iterator = iter(sound)
    while (data := await asyncio.to_thread(next, iterator, None)) is not None:
        yield data

"""Connections to which nothing goes and of which nothing comes are cut, whatever TCP thinks.

Uvicorn waits for ever for a request's head, and for a client to read what it was sent before its
connection is closed; each would keep a file, and its task, as long as the client likes.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Of a request: its first line and headers.
_MAX_HEAD = 1 << 16
_TOO_LONG = "The request's head is too long."
_BAD_SOCKET = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Http(HttpToolsProtocol):
    """Uvicorn's HTTP, where the head of a request has a most length.

    Attributes:
        head: of the request that has begun and is not there as a whole, something to know it by;
            also before the first one. None otherwise.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.head: object | None = self
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        if self.head is None:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD and not self.transport.is_closing():
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self.head = object()

    def on_headers_complete(self) -> None:
        """Note that a head is there."""
        self.head = None
        super().on_headers_complete()


class Socket(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket, where a wrong request for one is answered, and no goodbye takes long."""

    def __init__(self, config: Config, *args: Any, **settings: Any) -> None:
        super().__init__(config, *args, **settings)
        self.close_timeout = min(self.close_timeout, config.ws_ping_timeout or self.close_timeout)

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; one that is no text closes the socket, and fills no log."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def data_received(self, data: bytes) -> None:
        """Take what came; the first time that is the request as a whole."""
        super().data_received(data)
        if not (self.handshake_initiated or self.close_sent):
            # `websockets` gave it up without a word; uvicorn would keep it, and fail at its end.
            self.close_sent = True
            self.transport.write(_BAD_SOCKET)
            self.transport.close()


class _Seen(NamedTuple):
    state: tuple[str, object]
    since: float


class Watch:
    """Looks after the connections of a server.

    Args:
        connections: uvicorn's set of protocols; it changes.
        start_seconds: until the head of a request must be there.
        idle_seconds: until some of what a client is sent must have been read.
        clock: seconds.
    """

    def __init__(
        self,
        connections: set[Any],
        start_seconds: float,
        idle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._patience = {"head": start_seconds, "unread": idle_seconds}
        self._clock = clock
        self._seen: dict[Any, _Seen] = {}

    def look(self) -> None:
        """Cut those that have not moved for too long; to be called now and then."""
        now, seen = self._clock(), {}
        for connection in list(self._connections):
            state = _state(connection)
            if state is None:
                continue
            before = self._seen.get(connection)
            since = before.since if before is not None and before.state == state else now
            seen[connection] = _Seen(state, since)
            if now - since > self._patience[state[0]]:
                connection.transport.abort()
        self._seen = seen


def _state(connection: Any) -> tuple[str, object] | None:
    """Return what stays the same as long as a connection does not move; None where it need not."""
    if unread := connection.transport.get_write_buffer_size():
        return "unread", unread
    if (head := getattr(connection, "head", None)) is not None:
        return "head", head
    return None

"""The door: who calls, from which page, and how often, before anything is read or computed.

A server on this computer is reachable from every web page that its user looks at: so pages of
others are refused by their `Origin`, and names that only pretend to be this computer by `Host`.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.errors import ApiError, answer, busy, unexpected
from echoic.streaming.server.keys import ENVIRONMENT, Keys, fingerprint, key_of
from echoic.streaming.server.limits import RateLimit

log = logging.getLogger(__name__)

# Of an address: a proxy may say anything.
_MAX_ADDRESS = 64
# What is shown to everybody: the page, which asks for the key, and whether the server lives.
OPEN = frozenset({"/", "/client.js", "/worklet.js", "/style.css", "/healthz"})
#: Close codes of sockets by the status that a request would have had.
CLOSE_CODES = {
    400: 4400,
    401: 4401,
    403: 4403,
    404: 4404,
    408: 4408,
    409: 4409,
    413: 4413,
    429: 4429,
    500: 1011,
    503: 1013,
}


class Guard:
    """Lets through who may call, and tells the others why not.

    Args:
        app: what is called with them.
        config: of the server.
        keys: that open it.
        rate: how often a client may call.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, keys: Keys, rate: RateLimit) -> None:
        self._app = app
        self._keys = keys
        self._rate = rate
        self._origins = frozenset(origin.rstrip("/") for origin in config.allow_origins)
        self._is_local = is_loopback(config.host)
        self._hosts = frozenset(config.allow_hosts)
        self._max_sockets = config.max_sockets
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused caller, or pass him on."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            await (self._app if refusal is None else answer(refusal))(scope, receive, send)
        elif scope["type"] == "websocket":
            refusal = self._refusal(scope)
            if refusal is None and self._sockets >= self._max_sockets:
                refusal = busy("as many sockets are open as may be", 5)
            if refusal is not None:
                await turn_away(WebSocket(scope, receive, send), refusal)
                return
            self._sockets += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._sockets -= 1
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        if (why := self._foreign(headers)) is not None:
            return ApiError(403, why, code="forbidden_origin")
        if scope["path"] in OPEN:
            return None
        key = key_of(headers, scope.get("subprotocols", ()))
        client = scope.get("client") or ("unknown", 0)
        known = self._keys.open_for(key)
        who = fingerprint(key) if key and self._keys and known else client[0][:_MAX_ADDRESS]
        if (wait := self._rate.wait(who)) > 0:
            return ApiError(
                429,
                f"too many requests: try again in {wait:.1f} s",
                code="rate_limit_exceeded",
                retry_after=wait,
            )
        if known:
            return None
        why = "no key was sent" if key is None else "the key is not known"
        return ApiError(
            401, f"{why}: send Authorization: Bearer KEY (${ENVIRONMENT})", code="invalid_api_key"
        )

    def _foreign(self, headers: Mapping[str, str]) -> str | None:
        host = headers.get("host", "")
        name = _name(host)
        if self._is_local and not (is_loopback(name) or name in self._hosts):
            return "this server answers to localhost only: start it with --allow-host for others"
        origin = headers.get("origin")
        if origin is None or origin.rstrip("/") in self._origins:
            return None
        if _place(origin) == host.lower():
            return None
        return "pages of other servers may not call: start it with --allow-origin for this one"


async def turn_away(socket: WebSocket, error: ApiError) -> None:
    """Tell a client why, and close its socket with the code that says so."""
    if socket.application_state == WebSocketState.CONNECTING:
        await socket.accept(subprotocol=chosen_subprotocol(socket))
    if error.status == 503:
        message: Message = {"type": "busy", "retry_after": error.retry_after or 1.0}
    else:
        message = {"type": "error", "code": error.code or "invalid_request"}
        message |= {"message": str(error), **error.body}
    await socket.send_json(message)
    await socket.close(CLOSE_CODES.get(error.status, 1011), reason=(error.code or "")[:100])


async def attended(socket: WebSocket, work: Awaitable[None]) -> None:
    """Wait for what answers a socket; tell its client what went wrong, if it is still there."""
    try:
        await work
    except ApiError as error:
        await _tell_if_there(socket, error)
    except WebSocketDisconnect:
        return
    except Exception as error:
        # Sending on a socket that is gone is a RuntimeError of Starlette's.
        if _is_there(socket):
            log.error("a socket of %s failed", socket.scope["path"], exc_info=error)
            await _tell_if_there(socket, unexpected())


def _is_there(socket: WebSocket) -> bool:
    connected = WebSocketState.CONNECTED
    return socket.application_state == connected and socket.client_state == connected


async def _tell_if_there(socket: WebSocket, error: ApiError) -> None:
    if _is_there(socket):
        try:
            await turn_away(socket, error)
        except (WebSocketDisconnect, RuntimeError):  # it went meanwhile
            return


def chosen_subprotocol(socket: WebSocket) -> str | None:
    """Return the subprotocol of ours that a client offers beside its key."""
    offered = socket.scope.get("subprotocols", [])
    return next((name for name in ("echoic", "realtime") if name in offered), None)


def is_loopback(host: str) -> bool:
    """Return whether a name or address is this computer's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(origin: str) -> str:
    """Return the host and port of an `Origin` header."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return the name in a `Host` header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""

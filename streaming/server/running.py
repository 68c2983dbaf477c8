"""A server from its first request to its last: uvicorn, with an end that loses no live session."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from echoic.streaming.server.app import Server
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.watch import Http, Socket, Watch

# Of one connection in the system: what a client does not read shows soon, and takes no more.
_SEND_BUFFER = 1 << 18


class Running(uvicorn.Server):
    """A server on its way.

    Args:
        server: what is served.
        ready: told the address when it can be called.
    """

    def __init__(self, server: Server, ready: Callable[[str], None]) -> None:
        config = server.config
        super().__init__(
            uvicorn.Config(
                server.app,
                log_level="warning",
                access_log=False,  # addresses of sockets may hold what is private
                http=Http,
                ws=Socket,
                ws_per_message_deflate=False,  # sound hardly gets smaller, and it takes long
                ws_max_size=config.max_frame_bytes,
                ws_ping_interval=config.ping_seconds,
                ws_ping_timeout=config.ping_seconds,
                timeout_graceful_shutdown=round(config.drain_seconds),
                server_header=False,
            )
        )
        self._echoic = server
        self._ready = ready
        self._watch = Watch(
            self.server_state.connections, config.start_seconds, config.idle_seconds
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and tell the address."""
        await super().startup(sockets)
        for listening in (sockets or ()) if self.started else ():
            host, port = listening.getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        """Do what is to be done ten times a second; return whether to stop."""
        self._watch.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End live sessions while their clients can still be told, and then the rest."""
        await self._echoic.drain()
        await super().shutdown(sockets)


def listen(config: ServerConfig) -> socket.socket:
    """Return a socket at the server's address.

    Raises:
        OSError: the address is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    found = socket.create_server((config.host, config.port), family=family, backlog=2048)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)  # those accepted have it
    return found


def run(server: Server, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        server: what is served.
        ready: told the address when it can be called.

    Raises:
        OSError: see `listen`.
    """
    with listen(server.config) as listening:
        asyncio.run(Running(server, ready).serve(sockets=[listening]))

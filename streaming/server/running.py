"""A server from its first request to its last: uvicorn, with an end that loses no live session."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from echoic.streaming.server.app import Server
from echoic.streaming.server.config import ServerConfig


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
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # sound hardly gets smaller, and it takes long
                ws_max_size=config.max_frame_bytes,
                ws_ping_interval=20.0,
                ws_ping_timeout=20.0,
                timeout_graceful_shutdown=round(config.drain_seconds),
                server_header=False,
            )
        )
        self._echoic = server
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and tell the address."""
        await super().startup(sockets)
        for listening in (sockets or ()) if self.started else ():
            host, port = listening.getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

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
    return socket.create_server((config.host, config.port), family=family, backlog=2048)


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

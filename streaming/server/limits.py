"""How often a client may call, and how much it may send."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from echoic.streaming.server.errors import ApiError, answer, busy

# Of a request that brings no file: it is read in memory, and taken apart while all others wait.
_MAX_PLAIN_BYTES = 1 << 20
_FILES = b"multipart/form-data"
# Clients that are remembered; those that were quiet for longest are forgotten first.
_MAX_CLIENTS = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """So many requests a minute for each client, and as many at once.

    Args:
        per_minute: requests.
        clock: seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, client: str) -> float:
        """Count a request; return 0, or the seconds after which one would be allowed."""
        now, rate = self._clock(), self._per_minute / 60
        bucket = self._buckets.pop(client, None) or _Bucket(float(self._per_minute), now)
        bucket.left = min(float(self._per_minute), bucket.left + (now - bucket.seen) * rate)
        bucket.seen = now
        self._buckets[client] = bucket
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            return (1 - bucket.left) / rate
        bucket.left -= 1
        return 0.0


class BodyLimit:
    """Refuses requests with a longer body, also where nobody said how long, or with a slow one.

    Args:
        app: what is called with the others.
        max_bytes: of a body with a file.
        patience: seconds until more of it must have come.
        max_uploads: requests with a file at once.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, patience: float, max_uploads: int) -> None:
        self._app = app
        self._max = max_bytes
        self._patience = patience
        self._max_uploads = max_uploads
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not headers.get(b"content-type", b"").lower().startswith(_FILES):
            await self._limited(scope, receive, send, min(self._max, _MAX_PLAIN_BYTES))
            return
        if self._uploads >= self._max_uploads:
            full = busy(f"{self._uploads} recordings come in at once", 5)
            await answer(full)(scope, receive, send)
            return
        self._uploads += 1
        try:
            await self._limited(scope, receive, send, self._max)
        finally:
            self._uploads -= 1

    async def _limited(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        why = (
            f"the request is longer than {most / (1 << 20):g} MiB: send a shorter or "
            "compressed recording, as multipart/form-data"
        )
        said = dict(scope["headers"]).get(b"content-length", b"")
        if len(said) > 18 or (said.isdigit() and int(said) > most):
            await answer(ApiError(413, why, code="request_too_large"))(scope, receive, send)
            return
        taken, is_whole = 0, False

        async def counted() -> Message:
            nonlocal taken, is_whole
            try:  # what comes behind the body is that the client goes, any time later
                message = await asyncio.wait_for(receive(), None if is_whole else self._patience)
            except TimeoutError as error:
                raise HTTPException(408, "no more of the request came: send it again") from error
            is_whole = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, why)  # the one kind that no parser of bodies hides
            return message

        await self._app(scope, counted, send)

"""How often a client may call, and how much it may send."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from echoic.streaming.server.errors import ApiError, answer

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
        max_bytes: of a body.
        patience: seconds until more of it must have come.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, patience: float) -> None:
        self._app = app
        self._max = max_bytes
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        why = (
            f"the request is longer than {self._max / (1 << 20):g} MiB: send a shorter or "
            "compressed recording"
        )
        said = dict(scope["headers"]).get(b"content-length", b"")
        if said.isdigit() and int(said) > self._max:
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
            if taken > self._max:
                raise HTTPException(413, why)  # the one kind that no parser of bodies hides
            return message

        await self._app(scope, counted, send)

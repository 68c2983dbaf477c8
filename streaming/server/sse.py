"""Server-sent events: JSON, a line each."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Send

from echoic.streaming.server.errors import ApiError, unexpected

log = logging.getLogger(__name__)


def frame(fields: dict[str, Any]) -> bytes:
    """Return one event."""
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()


class Streamed(StreamingResponse):
    """An answer that is sent while it is made; when its client goes, its making ends at once.

    Args:
        pieces: of its body.
        media_type: of it.
        headers: others.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        media_type: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        """Send all of it; where that cannot be, the answer ends without an end."""
        async with aclosing(self._pieces):
            try:
                await super().stream_response(send)
            except ApiError as error:
                log.warning("a streamed answer broke off: %s", error)


async def last_words(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Pass events through; an error in their midst is one more, and then `[DONE]` as ever."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except ApiError as error:
        yield frame(error.body)
    except Exception as error:
        log.error("a streamed answer failed", exc_info=error)
        yield frame(unexpected().body)
    yield b"data: [DONE]\n\n"

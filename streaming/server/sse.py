"""Server-sent events: JSON, a line each."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from echoic.streaming.server.errors import ApiError, unexpected

log = logging.getLogger(__name__)


def frame(fields: dict[str, Any]) -> bytes:
    """Return one event."""
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()


async def last_words(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass events through; an error in their midst is one more, and then `[DONE]` as ever."""
    try:
        async for event in events:
            yield event
    except ApiError as error:
        yield frame(error.body)
    except Exception as error:
        log.error("a streamed answer failed", exc_info=error)
        yield frame(unexpected().body)
    yield b"data: [DONE]\n\n"

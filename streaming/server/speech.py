"""`POST /v1/audio/speech`: text to sound, sent while it is spoken."""

import base64
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from echoic.streaming.busy import Busy
from echoic.streaming.server.encoders import (
    MEDIA_TYPES,
    PCM_RATE,
    SoundFormat,
    open_encoder,
    writable_formats,
)
from echoic.streaming.server.errors import busy, invalid, shown
from echoic.streaming.server.jobs import JobPool, begun
from echoic.streaming.server.models import Catalog, Refused, Speaker
from echoic.streaming.server.sse import Streamed, frame, last_words

#: Voices of OpenAI's: whoever asks for one of them has the speaker's own.
ANY_VOICE = frozenset(
    [
        "alloy",
        "ash",
        "ballad",
        "cedar",
        "coral",
        "echo",
        "fable",
        "marin",
        "nova",
        "onyx",
        "sage",
        "shimmer",
        "verse",
    ]
)
MAX_TEXT = 4096
_BINARY = {"type": "string", "format": "binary"}
_SOUND: dict[str, Any] = {
    "description": "The sound, or events of it in base64.",
    "content": {
        **{media: {"schema": _BINARY} for media in MEDIA_TYPES.values()},
        "text/event-stream": {},
    },
}


class VoiceId(BaseModel):
    """A voice by its id, as OpenAI's newer clients spell it."""

    id: Annotated[str, Field(max_length=200)]


class SpeechRequest(BaseModel):
    """What to say; the fields are OpenAI's, and `seed` is ours."""

    model_config = ConfigDict(extra="forbid")

    input: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    model: Annotated[str | None, Field(max_length=200)] = None
    voice: Annotated[str, Field(max_length=200)] | VoiceId | None = None
    instructions: Annotated[str | None, Field(max_length=MAX_TEXT)] = None
    response_format: SoundFormat = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4, strict=True)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0


def router(catalog: Catalog, pool: JobPool) -> APIRouter:
    """Return the route of speech.

    Args:
        catalog: of models.
        pool: where texts are spoken.
    """
    routes = APIRouter()

    @routes.post(
        "/v1/audio/speech", response_class=Response, responses={200: _SOUND}, tags=["speech"]
    )
    async def speech(request: SpeechRequest) -> Response:
        """Read a text aloud."""
        speaker = catalog.speaker(request.model)
        if request.speed != 1:
            raise invalid(f"{speaker.name} speaks at speed 1 alone: leave it out", "speed")
        if request.instructions:
            raise invalid(f"{speaker.name} takes no instructions: leave them out", "instructions")
        check_format(request.response_format)
        asked = request.voice.id if isinstance(request.voice, VoiceId) else request.voice
        voice = chosen_voice(speaker, asked)

        async def held() -> AsyncGenerator[bytes, None]:
            async with pool.place():
                found = pool.each(
                    lambda: encoded(
                        speaker, request.input, voice, request.seed, request.response_format
                    )
                )
                async with aclosing(found):
                    async for piece in found:
                        yield piece

        pieces = await begun(held())
        if request.stream_format == "sse":
            return Streamed(last_words(_events(pieces)), "text/event-stream")
        media = MEDIA_TYPES[request.response_format]
        return Streamed(pieces, media, _rate(request, speaker))

    return routes


def _rate(request: SpeechRequest, speaker: Speaker) -> dict[str, str]:
    rate = PCM_RATE if request.response_format == "pcm" else speaker.sample_rate
    return {"X-Sample-Rate": str(rate)}


async def _events(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            audio = base64.b64encode(piece).decode()
            yield frame({"type": "speech.audio.delta", "audio": audio})
    yield frame({"type": "speech.audio.done"})


def check_format(form: str) -> None:
    """Raise ApiError for a format that cannot be written here."""
    if form not in (known := writable_formats()):
        raise invalid(
            f"{form} cannot be written by this server's libsndfile: take {', '.join(known)}",
            "response_format",
        )


def chosen_voice(speaker: Speaker, asked: str | None) -> str:
    """Return one of a speaker's voices.

    Raises:
        ApiError: it has none of that name.
    """
    voices = list(speaker.voices)
    if not asked or (asked in ANY_VOICE and asked not in voices):
        return voices[0]
    if asked not in voices:
        raise invalid(f"no voice {shown(asked)}: {speaker.name} has {', '.join(voices)}", "voice")
    return asked


def encoded(
    speaker: Speaker, text: str | Iterable[str], voice: str, seed: int, form: SoundFormat
) -> Iterator[bytes]:
    """Yield the bytes of speech as they are ready.

    Raises:
        ApiError: the text cannot be read aloud, or there is no room for it.
    """
    encoder = open_encoder(form, speaker.sample_rate)
    spoken = 0
    sound: Any = speaker.speak(text, voice=voice, seed=seed)
    try:
        for wav in sound:
            spoken += len(wav)
            if data := encoder.encode(wav):
                yield data
    except Refused as error:
        raise invalid(str(error), error.param or "input", "unspeakable") from error
    except Busy as error:
        raise busy(str(error), error.retry_after) from error
    finally:
        if (close := getattr(sound, "close", None)) is not None:
            close()
    if not spoken:
        raise invalid("there is nothing to say: the text has no words", "input", "unspeakable")
    if data := encoder.finish():
        yield data

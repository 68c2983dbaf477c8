"""The application: routes, the door before them, and what lives as long as they do."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Response, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from echoic.audio.silero import SileroVad
from echoic.streaming.scheduler import Scheduler
from echoic.streaming.server import errors, speech, transcriptions
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.guard import CLOSE_CODES, Guard
from echoic.streaming.server.jobs import JobPool
from echoic.streaming.server.keys import Keys
from echoic.streaming.server.limits import BodyLimit, RateLimit
from echoic.streaming.server.metrics import CONTENT_TYPE, Metrics
from echoic.streaming.server.models import Catalog
from echoic.streaming.server.realtime import serve_realtime
from echoic.streaming.server.sessions import Sessions
from echoic.streaming.server.speech_socket import serve_speech
from echoic.streaming.server.stream_socket import serve_stream

_PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {
    "/": "text/html; charset=utf-8",
    "/client.js": "text/javascript; charset=utf-8",
    "/worklet.js": "text/javascript; charset=utf-8",
    "/style.css": "text/css; charset=utf-8",
}
# The page asks nobody else for anything, and nobody else may show it in a frame.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_CODES = frozenset(CLOSE_CODES.values())
_CREATED = 0  # when a model was made is not known here
# What any route may answer beside its own; FastAPI's 422 never comes.
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request is refused.", "model": errors.ErrorBody},
    503: {"description": "No room now: see Retry-After.", "model": errors.ErrorBody},
}

_METRICS: dict[str, Any] = {
    "description": "Counters, in Prometheus' text format.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}
# For the schema: the guard is before everything.
_KEY = HTTPBearer(auto_error=False, description="A key of this server's.")


class Server:
    """A server's parts; `app` is what an ASGI server runs.

    Args:
        catalog: of models.
        scheduler: runs live streams; the caller's to close.
        config: of the server.
        keys: that open it.
        vad: voice activity detector of the scheduler's.

    Attributes:
        app: the application.
        sessions: the live ones; there while the application runs.
    """

    def __init__(
        self,
        catalog: Catalog,
        scheduler: Scheduler,
        config: ServerConfig | None = None,
        keys: Keys | None = None,
        *,
        vad: SileroVad | None = None,
    ) -> None:
        self.config = config = ServerConfig() if config is None else config
        self.catalog = catalog
        self.scheduler = scheduler
        self.sessions: Sessions | None = None
        self._vad = vad
        queue = {"waiting": config.max_waiting, "patience": config.idle_seconds}
        self._files = JobPool("recordings", workers=config.file_workers, **queue)
        self._speech = JobPool("texts", workers=config.speech_workers, **queue)
        self.metrics = Metrics(self._gauges)
        self.app = FastAPI(
            title="echoic",
            version=version("echoic"),
            lifespan=self._lifespan,
            docs_url=None,  # these pages would come from another server
            redoc_url=None,
            responses=_ERRORS,
        )
        errors.install(self.app)
        self._add_routes([Depends(_KEY)] if keys else [])
        self.app.add_middleware(
            BodyLimit, config.max_upload_bytes, config.idle_seconds, config.max_uploads
        )
        rate = RateLimit(config.requests_per_minute)
        self.app.add_middleware(Guard, config, Keys() if keys is None else keys, rate)
        if config.allow_origins:
            self.app.add_middleware(
                CORSMiddleware,
                allow_origins=list(config.allow_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type"],
            )
        self.app.add_middleware(_Counted, self.metrics)

    async def drain(self) -> None:
        """Take no more, and bring live sessions to an end or to disk."""
        if self.sessions is not None:
            await self.sessions.drain()

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        sessions = Sessions(self.scheduler, self.catalog, self.config, self.metrics, self._vad)
        self.sessions = sessions
        duty = asyncio.create_task(sessions.run())
        try:
            yield
        finally:
            duty.cancel()
            await asyncio.gather(duty, return_exceptions=True)
            await sessions.drain()
            sessions.close()
            self._files.close()
            self._speech.close()

    def _live(self) -> Sessions:
        if self.sessions is None:
            raise RuntimeError("the application is not running: its lifespan has not begun")
        return self.sessions

    def _add_routes(self, door: list[Any]) -> None:
        app, config = self.app, self.config
        files = transcriptions.router(self.catalog, config, self._files)
        app.include_router(files, dependencies=door)
        app.include_router(speech.router(self.catalog, self._speech), dependencies=door)

        @app.get("/v1/models", tags=["server"], dependencies=door)
        async def models() -> dict[str, Any]:
            """List what is served."""
            return {"object": "list", "data": list(self._models().values())}

        @app.get("/v1/models/{model}", tags=["server"], dependencies=door)
        async def model(model: str) -> dict[str, Any]:
            """Describe one model."""
            found = self._models()
            if model not in found:
                raise errors.unknown_model(model, list(found))
            return found[model]

        @app.get("/healthz", tags=["server"])
        async def health() -> dict[str, str]:
            """Say whether the server lives, and takes streams."""
            if not self.scheduler.is_alive:
                raise errors.ApiError(503, "live streams are not heard any more: start it anew")
            return {"status": "stopping" if self._live().closing else "ok"}

        @app.get(
            "/metrics",
            response_class=Response,
            responses={200: _METRICS},
            tags=["server"],
            dependencies=door,
        )
        async def metrics() -> Response:
            """Tell Prometheus."""
            return Response(self.metrics.text(), media_type=CONTENT_TYPE)

        for path, media in _PAGE_FILES.items():
            self._add_page(path, media)

        @app.websocket("/v1/stream")
        async def stream(socket: WebSocket) -> None:
            await serve_stream(socket, self._live(), config)

        @app.websocket("/v1/realtime")
        async def realtime(socket: WebSocket) -> None:
            await serve_realtime(socket, self._live(), config)

        @app.websocket("/v1/audio/speech/stream")
        async def speech_stream(socket: WebSocket) -> None:
            await serve_speech(socket, self.catalog, config, self._speech)

    def _add_page(self, path: str, media: str) -> None:
        file = _PAGE / (path.strip("/") or "index.html")

        @self.app.get(path, include_in_schema=False)
        async def page() -> FileResponse:
            return FileResponse(file, media_type=media, headers=_PAGE_HEADERS)

    def _models(self) -> dict[str, dict[str, Any]]:
        voices = {speaker.name: list(speaker.voices) for speaker in self.catalog.speakers}
        found: dict[str, dict[str, Any]] = {}
        for name, uses in self.catalog.names().items():
            found[name] = {
                "id": name,
                "object": "model",
                "created": _CREATED,
                "owned_by": "echoic",
                "uses": uses,
            }
            if name in voices:
                found[name]["voices"] = voices[name]
        return found

    def _gauges(self) -> dict[str, tuple[str, float]]:
        stats = self.scheduler.stats
        rounds = max(1, stats.rounds)
        gathered = sum(size * count for size, count in stats.batches.items())
        sessions = [] if self.sessions is None else self.sessions.kept
        return {
            "streams": ("Streams that are heard.", stats.streams),
            "room": ("Streams that fit.", stats.room),
            "refused_streams": ("Streams that were refused.", stats.refused),
            "rounds": ("Rounds of work.", stats.rounds),
            "batch_size_mean": ("Streams in a round.", gathered / rounds),
            "batch_size_max": ("Streams in the largest round.", max(stats.batches, default=0)),
            "step_ms_mean": ("Time of a round.", 1000 * stats.compute_seconds / rounds),
            "audio_seconds": ("Sound that was heard.", stats.audio_seconds),
            "compute_seconds": ("Time that it took.", stats.compute_seconds),
            "behind_seconds": ("Sound that waits, of the last stream.", stats.behind_seconds),
            "sessions": ("Sessions, with and without a client.", len(sessions)),
            "files_in_work": ("Recordings in work or waiting.", self._files.held),
            "texts_in_work": ("Texts in work or waiting.", self._speech.held),
        }


class _Counted:
    """Counts requests by their route, never by what a client wrote."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), None

        async def heard() -> Message:
            nonlocal status
            message = await receive()
            if message["type"] == "websocket.disconnect":
                status = int(message.get("code", 1005))
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            elif message["type"] == "websocket.close":
                status = int(message.get("code", 1000))
            await send(message)

        try:
            await self._app(scope, heard, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count(route, status, _CODES)
            if scope["type"] == "http":
                self._metrics.request_seconds.labels(route).observe(time.monotonic() - began)

"""All live sessions: opened, found again, written down now and then, and given up."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from echoic.audio.silero import SileroVad
from echoic.streaming.busy import Busy
from echoic.streaming.scheduler import Scheduler, Stream
from echoic.streaming.server.checkpoints import Restored, Store
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.errors import ApiError, busy, invalid, shown
from echoic.streaming.server.event_log import EventLog
from echoic.streaming.server.kept import Identity, KeptSession, retry_seconds
from echoic.streaming.server.metrics import Metrics
from echoic.streaming.server.models import Catalog, LiveModel
from echoic.streaming.server.stream_settings import StreamSettings, lost
from echoic.streaming.session import SessionState, compacted

log = logging.getLogger(__name__)

RESTARTING = 1012
# A stream that is further behind waits with its checkpoint, and does not make its client wait.
_MAX_BEHIND = 2.0
_TICK_SECONDS = 1.0
# Clients that are away for longer make room for others; a stream takes a moment to end.
_LONG_AWAY = 5.0
_ROOM_SECONDS, _ROOM_TRIES = 0.05, 40
# Threads for checkpoints: they wait for the scheduler's rounds and for the disk.
_WRITERS = 8


class Sessions:
    """The live sessions of a server; lives in its event loop.

    Args:
        scheduler: runs the streams.
        catalog: of models.
        config: of the server.
        metrics: that count.
        vad: voice activity detector of the scheduler's streams.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        catalog: Catalog,
        config: ServerConfig,
        metrics: Metrics,
        vad: SileroVad | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.catalog = catalog
        self.config = config
        self.closing = False
        self._metrics = metrics
        self._vad = vad
        self._store = None if config.state_dir is None else Store(config.state_dir)
        self._kept: dict[str, KeptSession] = {}
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="echoic-checkpoint")
        self._drains: set[Callable[[], Awaitable[None]]] = set()

    @property
    def kept(self) -> list[KeptSession]:
        """All sessions, with and without a client."""
        return list(self._kept.values())

    async def open_stream(
        self,
        model: LiveModel,
        sample_rate: int,
        *,
        state: SessionState | None = None,
        **callbacks: Any,
    ) -> Stream:
        """Open a stream in the scheduler; sessions whose clients are gone for long make room.

        Raises:
            ApiError: there is no room (503).
        """
        if self.closing:
            raise busy("the server is about to stop", 5)
        tries = 1
        while True:
            try:
                return self.scheduler.open(
                    model.recognizer,
                    sample_rate=sample_rate,
                    config=model.config,
                    state=state,
                    **callbacks,
                )
            except Busy as error:
                tries = _ROOM_TRIES if self._make_room() else tries - 1
                if tries <= 0:
                    self._metrics.refused.inc()
                    raise busy(
                        "no more live streams can be heard", retry_seconds(error.retry_after)
                    ) from error
            await asyncio.sleep(_ROOM_SECONDS)

    def _make_room(self) -> bool:
        """Give up the stream of the session that is without a client for longest, if for long.

        Where there is a checkpoint of it, it goes on from there when its client comes back.
        """
        now = time.monotonic()
        away = [
            (session.left_at, session.identity.id)
            for session in self.kept
            if session.left_at is not None and not session.ended
        ]
        if not away or now - min(away)[0] < _LONG_AWAY:
            return False
        session = self._kept[min(away)[1]]
        if self._store is None or session.safe < 0:
            self.forget(session)
        else:
            session.discard()
            del self._kept[session.identity.id]
        return True

    async def open(self, settings: StreamSettings) -> KeptSession:
        """Begin a session.

        Raises:
            ApiError: no room (503), no such model (404), another language than the model's (400).
        """
        model = self.catalog.live_model(settings.model)
        check_language(model, settings.language)
        identity = Identity(
            secrets.token_urlsafe(16),
            model.name,
            settings.sample_rate,
            settings.encoding,
            settings.channels,
        )
        session = KeptSession(identity, model, EventLog(), self._metrics)
        session.stream = await self.open_stream(
            model, settings.sample_rate, on_event=session.on_event, on_end=session.on_end
        )
        self._kept[identity.id] = session
        return session

    async def resume(self, session_id: str) -> KeptSession:
        """Return a session that its client lost; one of a process before is read from its file.

        Raises:
            ApiError: it is not there (404), or there is no room for it (503).
        """
        session = self._kept.get(session_id)
        if session is None:
            session = await self._restore(session_id)
        while session.part is not None:  # until then it may take sound
            session.part(4409, "taken over by another socket")
            await asyncio.sleep(0.01)
        if self._kept.get(session_id) is not session:
            raise lost()
        self._metrics.resumed.inc()
        return session

    async def _restore(self, session_id: str) -> KeptSession:
        if self._store is None:
            raise lost()
        store = self._store

        def read() -> Restored | None:
            return store.load(session_id, self.catalog.live_model, self._vad)

        try:
            found = await asyncio.get_running_loop().run_in_executor(self._writers, read)
        except ApiError:
            raise
        except (ValueError, KeyError, TypeError, OSError) as error:
            log.warning("session %s cannot be read: %s", session_id, error)
            raise lost() from error
        if session_id in self._kept:  # two sockets asked at once
            return self._kept[session_id]
        if found is None:
            raise lost()
        session = KeptSession(found.identity, found.model, EventLog(), self._metrics)
        session.recall(found.record)
        session.stream = await self.open_stream(
            found.model,
            found.identity.sample_rate,
            state=found.state,
            on_event=session.on_event,
            on_end=session.on_end,
        )
        if (other := self._kept.get(session_id)) is not None:  # while this one waited for room
            session.discard()
            return other
        self._kept[session_id] = session
        return session

    def leave(self, session: KeptSession) -> None:
        """Keep a session whose socket is gone."""
        session.part = None
        session.left_at = time.monotonic()
        if self.config.resume_seconds == 0:
            self.forget(session)

    def forget(self, session: KeptSession) -> None:
        """Give up a session, and its files."""
        session.discard()
        self._kept.pop(session.identity.id, None)
        if self._store is None:
            return
        try:
            self._store.remove(session.identity.id)
        except OSError as error:  # `sweep` tries it again
            log.warning("session %s stays on disk: %s", session.identity.id, error)

    async def run(self) -> None:
        """Write checkpoints and give up what nobody comes back to, until cancelled."""
        due = 0.0
        while True:
            await asyncio.sleep(min(_TICK_SECONDS, max(0.05, self.config.checkpoint_seconds)))
            now = time.monotonic()
            try:
                for session in self.kept:
                    if session.is_over(now, self.config.resume_seconds):
                        self.forget(session)
                if now < due:
                    continue
                due = now + self.config.checkpoint_seconds
                await asyncio.gather(*(self._checkpoint(session) for session in self.kept))
                if self._store is not None:
                    self._store.sweep(set(self._kept), max(60.0, self.config.resume_seconds))
            except Exception:  # the next round may do better; the sessions go on
                log.exception("checkpoints failed")

    async def _checkpoint(self, session: KeptSession, *, wait: bool = False) -> None:
        """Write a session down, and note up to where it is safe.

        Args:
            session: the session.
            wait: also where it is far behind.
        """
        stream = session.stream
        if stream is None or session.ended or session.finishing or session.safe == session.received:
            return
        if self._store is None:
            session.safe = session.received
            session.changed.set()
            return
        if not wait and stream.behind > _MAX_BEHIND:
            return
        loop = asyncio.get_running_loop()
        try:
            async with session.lock:
                state = await loop.run_in_executor(self._writers, stream.snapshot)
                # Events before the snapshot were sent to this loop before its result was.
                record, safe = session.record, session.received
            store, identity = self._store, session.identity
            state = compacted(session.model.recognizer, state)
            await loop.run_in_executor(self._writers, lambda: store.save(identity, state, record))
        except (RuntimeError, OSError) as error:
            log.warning("no checkpoint of session %s: %s", session.identity.id, error)
            return
        if session.identity.id not in self._kept:  # given up meanwhile
            store.remove(identity.id)
            return
        session.safe = safe
        session.changed.set()

    def at_drain(self, drain: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Have something done at shutdown; returns what takes that back."""
        self._drains.add(drain)
        return lambda: self._drains.discard(drain)

    async def drain(self) -> None:
        """End for a while: sessions are written down, or else finished; sockets are told."""
        if self.closing:
            return
        self.closing = True
        try:
            async with asyncio.timeout(self.config.drain_seconds):
                await asyncio.gather(*(drain() for drain in list(self._drains)))
                if self._store is not None:
                    await asyncio.gather(*(self._checkpoint(s, wait=True) for s in self.kept))
                else:
                    await self._finish_all()
        except TimeoutError:
            log.warning("live sessions took longer than %g s to end", self.config.drain_seconds)
        for session in self.kept:
            if session.part is not None:
                session.part(RESTARTING, "the server stops")

    async def _finish_all(self) -> None:
        heard = [s for s in self.kept if s.part is not None]
        await asyncio.gather(*(session.finish() for session in heard))
        while any(session.part is not None for session in heard):
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Stop the threads that write."""
        self._writers.shutdown(wait=False, cancel_futures=True)


def check_language(model: LiveModel, language: str | None) -> None:
    """Raise ApiError for a language that a live model does not write."""
    if language and model.language is not None and language.lower() != model.language:
        raise invalid(
            f"model {model.name} writes {model.language!r}, not {shown(language)}", "language"
        )

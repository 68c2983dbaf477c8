"""Work that takes long, in threads: a few at once, a few that wait, and no more than that."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from echoic.streaming.server.errors import ApiError, busy

T = TypeVar("T")

# Pieces of an answer that a worker may be ahead of its client.
_AHEAD = 16


class JobPool:
    """Runs functions in worker threads; live streams go on meanwhile.

    Args:
        name: what is done, for messages: "recordings".
        workers: threads.
        waiting: jobs that may wait for one.
        patience: seconds that a worker waits for a client that does not read.
    """

    def __init__(self, name: str, *, workers: int, waiting: int, patience: float) -> None:
        self._name = name
        self._patience = patience
        self._most = workers + waiting
        self._workers = workers
        self._threads = self._begin()
        self.held = 0

    def _begin(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers, thread_name_prefix=f"echoic-{self._name}")

    def check(self) -> None:
        """Raise ApiError (503) where no job can be taken now."""
        if self.held >= self._most:
            raise busy(f"{self.held} {self._name} are in work or wait", 2.0 * self.held)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place in the queue.

        Raises:
            ApiError: there is none (503).
        """
        self.check()
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def run(self, function: Callable[[], T]) -> T:
        """Return what the function returns, in a place that the caller holds."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def each(self, make: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
        """Yield what an iterator yields that lives in a worker thread.

        It is at most a few items ahead; when nobody wants more, it is closed after the next one.
        """
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue()
        room, stopped = threading.Semaphore(_AHEAD), threading.Event()

        def tell(is_last: bool, item: Any) -> None:
            loop.call_soon_threadsafe(items.put_nowait, (is_last, item))

        def work() -> None:
            source = make()
            try:
                for item in source:
                    if not room.acquire(timeout=self._patience):
                        raise ApiError(408, "the answer is not read", code="unread")
                    if stopped.is_set():
                        return
                    tell(False, item)
                tell(True, None)
            except Exception as error:
                if not stopped.is_set():
                    tell(True, error)
            finally:
                if (close := getattr(source, "close", None)) is not None:
                    close()

        worker = loop.run_in_executor(self._threads, work)
        try:
            while True:
                is_last, item = await items.get()
                if not is_last:
                    room.release()
                    yield item
                elif item is None:
                    return
                else:
                    raise item
        finally:
            stopped.set()
            room.release()
            await asyncio.shield(worker)

    def close(self) -> None:
        """Forget what waits, and let the running ones end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = self._begin()  # an application may begin again; no thread runs before


async def begun(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Return the iterator with its first item there already: errors of the beginning come now."""
    try:
        first = await anext(items)
    except StopAsyncIteration:
        return _after([], items)
    return _after([first], items)


async def _after(first: list[T], items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    async with aclosing(items):
        for item in first:
            yield item
        async for item in items:
            yield item

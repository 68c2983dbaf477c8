"""A desk does jobs for browser pages: one after the other, in a thread of its own.

A page brings a file in pieces, starts a job, and asks how it is going. Requests never wait for a
model; what cannot be done is answered with `problem`, a sentence.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from echoic.audio.errors import one_line
from echoic.demo.desk_page import DeskPage, UnwantedError
from echoic.demo.fields import page_id

M = TypeVar("M")
Job = Callable[[DeskPage[M], Mapping[str, Any]], dict[str, Any]]

log = logging.getLogger(__name__)

_EXPECTED = (ValueError, TypeError, RuntimeError, OSError, ImportError)


class Desk(Generic[M]):
    """Answers the requests of pages.

    Attributes:
        max_bytes: of a page's file.
        max_pages: pages that are kept; beyond, those that were quiet longest are forgotten.
        max_waiting: jobs that may wait for the one that runs.
        max_total_bytes: of all pages' files.
    """

    def __init__(
        self,
        memory: Callable[[], M],
        jobs: Mapping[str, Job[M]],
        answers: Mapping[str, Job[M]] | None = None,
        *,
        max_bytes: int,
        max_pages: int = 16,
        max_waiting: int = 6,
        max_total_bytes: int = 256 * 2**20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open a desk.

        Args:
            memory: makes what is kept for a page between its jobs.
            jobs: by the word that starts them; they run in the desk's thread.
            answers: by their word; given at once, while no job of the page runs.
            max_bytes: see the attribute.
            max_pages: see the attribute.
            max_waiting: see the attribute.
            max_total_bytes: see the attribute.
            clock: seconds, for who was quiet longest.
        """
        self.max_bytes = max_bytes
        self.max_pages = max_pages
        self.max_waiting = max_waiting
        self.max_total_bytes = max_total_bytes
        self._memory = memory
        self._jobs = jobs
        self._answers = answers or {}
        self._clock = clock
        self._pages: dict[str, DeskPage[M]] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="desk")

    @property
    def num_pages(self) -> int:
        """Pages that are known."""
        return len(self._pages)

    @property
    def num_jobs(self) -> int:
        """Jobs that run or wait."""
        return sum(page.phase != "idle" for page in list(self._pages.values()))

    def handle(self, request: Any) -> dict[str, Any]:
        """Answer a request of a page.

        Args:
            request: `page`, an id that only this page knows; `do`, one of bring, look, stop, and
                the desk's own words; and what that needs.
        """
        try:
            page = self._page(page_id(request))
            do = str(request.get("do"))
            if do == "bring":
                return self._bring(page, request)
            if do == "stop":
                page.stop()
            elif do in self._jobs:
                self._start(page, self._jobs[do], request)
            elif do in self._answers:
                if page.phase != "idle":
                    raise RuntimeError("this page is busy: wait until it is done, or press Stop")
                return self._answers[do](page, request)
            elif do != "look":
                raise ValueError(f"no such request: {request.get('do')!r}")
            return page.look(request)
        except _EXPECTED as error:
            return {"problem": _sentence(error)}

    def leave(self, name: str) -> None:
        """Forget a page; its job ends at its next step."""
        with self._lock:
            page = self._pages.pop(name, None)
        if page is not None:
            page.stop()

    def close(self) -> None:
        """Forget all pages."""
        for name in list(self._pages):
            self.leave(name)
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _page(self, name: str) -> DeskPage[M]:
        with self._lock:
            if name not in self._pages:
                self._pages[name] = DeskPage(self._memory())
            page = self._pages[name]
            page.touched = self._clock()
            quiet = sorted(self._pages, key=lambda name: self._pages[name].touched)
            gone = [self._pages.pop(n) for n in quiet[: max(0, len(quiet) - self.max_pages)]]
        for other in gone:
            other.stop()
        return page

    def _bring(self, page: DeskPage[M], request: Mapping[str, Any]) -> dict[str, Any]:
        others = sum(len(other.file) for other in list(self._pages.values()) if other is not page)
        if others + len(page.file) > self.max_total_bytes:
            raise RuntimeError("many files are being worked on: try again later")
        return page.bring(request, self.max_bytes)

    def _start(self, page: DeskPage[M], job: Job[M], request: Mapping[str, Any]) -> None:
        with self._lock:  # two pages must not both be the last one
            if page.phase == "idle" and self.num_jobs > self.max_waiting:
                raise RuntimeError(f"{self.num_jobs} jobs are waiting: try again later")
            page.begin()
        self._worker.submit(self._do, page, job, request)

    def _do(self, page: DeskPage[M], job: Job[M], request: Mapping[str, Any]) -> None:
        try:
            page.run()
            page.end(job(page, request))
        except UnwantedError:
            page.end(None)
        except _EXPECTED as error:
            page.end(None, _sentence(error))
        except Exception as error:  # a page must not wait for ever for what has failed
            log.exception("a job failed")
            page.end(None, f"this failed ({type(error).__name__}: {_sentence(error)})")


def _sentence(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__

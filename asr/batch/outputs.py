"""Where results go: files that appear whole or not at all, or lines on standard output."""

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from echoic.asr.batch.console import Console
from echoic.asr.batch.errors import OutputError, printable
from echoic.asr.batch.journal import Journal, Record, temporary_path
from echoic.asr.batch.resume import Target
from echoic.asr.batch.subtitles import Layout
from echoic.asr.batch.writers import json_error, json_line, render
from echoic.asr.source import Source
from echoic.asr.transcript import Transcript


class Sink(Protocol):
    """Takes results one by one, in the order in which they are ready."""

    def starting(self, source: Source) -> None:
        """Hear that a source is about to be read."""
        ...

    def succeeded(self, source: Source, transcript: Transcript) -> None:
        """Take a transcript.

        Raises:
            OutputError: where it cannot be written.
        """
        ...

    def failed(self, source: Source, message: str) -> None:
        """Take the reason why there is none."""
        ...

    def close(self) -> None:
        """Give out what is held back."""
        ...


class FolderSink:
    """Writes the outputs of each source below a folder and notes them in its journal."""

    def __init__(self, target: Target, journal: Journal, layout: Layout):
        self._target = target
        self._journal = journal
        self._layout = layout
        self._records: dict[str, Record] = {}

    def starting(self, source: Source) -> None:
        """Keep the file's state from before it is read: if it grows meanwhile, it is done anew."""
        self._records[source.key] = self._target.record(source)

    def succeeded(self, source: Source, transcript: Transcript) -> None:
        """Put all outputs in place, then note it."""
        record = self._records.pop(source.key)
        paths = self._target.paths(source.key)
        texts = [render(transcript, name, self._layout) for name in self._target.formats]
        self._journal.writing(record)
        for path, text in zip(paths, texts, strict=True):
            try:
                write_whole(path, text.encode("utf-8"), self._journal.token)
            except OSError as e:
                raise OutputError(printable(path), e) from e
        self._journal.done(record)

    def failed(self, source: Source, message: str) -> None:
        """Note the failure."""
        self._records.pop(source.key, None)
        self._journal.failed(source.key, source.path, message)

    def close(self) -> None:
        """Do nothing: everything is in place already."""


class TextSink:
    """Prints transcripts on standard output, in the order of the inputs.

    Several files are set apart by `==> name <==` headers, as `head` and `tail` do. At most what
    the transcriber has in flight is held back.
    """

    def __init__(self, console: Console, sources: Sequence[Source], name: str, layout: Layout):
        self._console = console
        self._format = name
        self._layout = layout
        self._headers = len(sources) > 1
        self._order = deque(source.key for source in sources)
        self._ready: dict[str, str] = {}
        self._first = True

    def starting(self, source: Source) -> None:
        """Do nothing."""

    def succeeded(self, source: Source, transcript: Transcript) -> None:
        """Print the transcript, now or after those before it."""
        text = render(transcript, self._format, self._layout)
        if self._headers:
            text = f"==> {printable(source.path)} <==\n{text}"
        self._ready[source.key] = text
        self._print_ready()

    def failed(self, source: Source, message: str) -> None:
        """Let the next one pass: failures are told on stderr."""
        self._ready[source.key] = ""
        self._print_ready()

    def close(self) -> None:
        """Print what still waits for an earlier file that never came."""
        self._order = deque(key for key in self._order if key in self._ready)
        self._print_ready()

    def _print_ready(self) -> None:
        while self._order and self._order[0] in self._ready:
            if not (text := self._ready.pop(self._order.popleft())):
                continue
            gap = "" if self._first or not self._headers else "\n"
            self._first = False
            self._console.result(gap + text)


class JsonLinesSink:
    """Prints one JSON object a file on standard output, as soon as it is ready."""

    def __init__(self, console: Console):
        self._console = console

    def starting(self, source: Source) -> None:
        """Do nothing."""

    def succeeded(self, source: Source, transcript: Transcript) -> None:
        """Print the transcript's line."""
        self._console.result(json_line(source, transcript) + "\n")

    def failed(self, source: Source, message: str) -> None:
        """Print a line with the error."""
        self._console.result(json_error(source, message) + "\n")

    def close(self) -> None:
        """Do nothing: nothing is held back."""


def write_whole(path: str, data: bytes, token: str) -> None:
    """Write a file so that nobody ever sees a part of it: aside, to the disk, then renamed.

    Args:
        path: where it shall stand; missing folders are made.
        data: all of it.
        token: makes the name of the temporary file, in the same folder, this run's own.

    Raises:
        OSError: nothing is left behind then, and an older file stays as it was.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = temporary_path(path, token)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def close_all(sinks: Iterable[Sink]) -> None:
    """Close each sink."""
    for sink in sinks:
        sink.close()

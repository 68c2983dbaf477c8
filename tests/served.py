"""A server of tiny models in this process, and sounds that its recogniser hears as words."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from energy_words import EnergyWords
from fake_transcriber import transcript_of

from echoic.asr.batch.subtitles import Layout, srt, vtt
from echoic.asr.batch.writers import as_dict
from echoic.streaming.admission import AdmissionConfig
from echoic.streaming.gate import GateConfig
from echoic.streaming.scheduler import Scheduler, SchedulerConfig
from echoic.streaming.server.app import Server
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.keys import Keys
from echoic.streaming.server.models import (
    Catalog,
    FileRequest,
    FileTranscriber,
    FileTranscript,
    LiveModel,
    Refused,
)
from echoic.streaming.server.running import Running, listen
from echoic.streaming.session import Session, SessionConfig

RATE = 16_000
CONFIG = SessionConfig(gate=GateConfig(enabled=False))
LIVE = LiveModel("words", EnergyWords(), "en", CONFIG)


def bursts(count: int, rate: int = RATE) -> np.ndarray[Any, Any]:
    """Return (n,) int16: so many words of different length and loudness, 0.4 s each and a pause."""
    parts = []
    for number in range(count):
        time_ = np.arange(int(rate * (0.15 + 0.05 * (number % 4)))) / rate
        tone = (0.2 + 0.1 * (number % 5)) * np.sin(2 * np.pi * 440 * time_)
        silence = np.zeros(int(rate * 0.5) - len(tone))
        parts += [tone, silence]
    return (np.concatenate(parts) * 32767).astype(np.int16)


def heard_alone(wav: np.ndarray[Any, Any], rate: int = RATE) -> list[dict[str, Any]]:
    """Return what a session without a server tells of the sound, but for the times of work."""
    session = Session(LIVE.recognizer, sample_rate=rate, config=CONFIG)
    events = [*session.feed(wav), *session.finish()]
    return [plain(event.to_dict()) for event in events]


def plain(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event without what differs from one time to the next."""
    return {name: value for name, value in event.items() if name not in ("compute_ms", "seq")}


class FakeFiles:
    """Hears what the bytes of a file say: a segment a line; "BAD" is no sound."""

    name = "files"

    def __init__(self) -> None:
        self.asked: list[FileRequest] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def check(self, request: FileRequest) -> None:
        if request.translate:
            raise Refused("this model cannot translate")
        if request.language not in (None, "en"):
            raise Refused("this model hears English alone", "language")

    def transcribe(self, request: FileRequest) -> FileTranscript:
        self.asked.append(request)
        self.go_on.wait(10)
        transcript = transcript_of(*self._lines(request), words=request.words)
        body = {**as_dict(transcript, tokens=True), "language_code": "en"}
        if request.words:
            body["words"] = [word for s in body["segments"] for word in s["words"]]
        layout = Layout()
        return FileTranscript(
            transcript.text,
            transcript.duration,
            body,
            srt(transcript, layout),
            vtt(transcript, layout),
        )

    def stream(self, request: FileRequest) -> Iterator[str]:
        for number, line in enumerate(self._lines(request)):
            yield line if number == 0 else f" {line}"

    def _lines(self, request: FileRequest) -> list[str]:
        text = Path(request.path).read_text(encoding="utf-8", errors="replace")
        if text.startswith("BAD"):
            raise Refused(f"{request.path}: is not sound", "file")
        if text.startswith("BOOM"):
            raise ZeroDivisionError("a bug")
        return text.splitlines()


class FakeSpeaker:
    """Says a tone of 0.1 s for each word."""

    name = "tones"
    sample_rate = 16_000
    voices = ("default", "low")

    def speak(
        self, text: str | Iterable[str], *, voice: str, seed: int
    ) -> Iterator[np.ndarray[Any, Any]]:
        for piece in [text] if isinstance(text, str) else text:
            if "@" in piece:
                raise Refused("@ cannot be read aloud")
            for _ in piece.split():
                hertz = 110 if voice == "low" else 440
                yield 0.3 * np.sin(np.arange(1600, dtype=np.float32) * hertz * 2 * np.pi / 16_000)


def parts(
    config: ServerConfig | None = None,
    keys: Iterable[str] = (),
    files: FileTranscriber | None = None,
    max_streams: int = 256,
) -> Server:
    """Return a server of tiny models; its scheduler's thread is a daemon."""
    catalog = Catalog((LIVE,), (files or FakeFiles(),), (FakeSpeaker(),))
    config = ServerConfig(port=0) if config is None else config
    admission = AdmissionConfig(max_streams=max_streams, trial_streams=max_streams)
    scheduler = Scheduler(SchedulerConfig(admission=admission))
    return Server(catalog, scheduler, config, Keys(keys))


@contextlib.contextmanager
def serving(server: Server) -> Iterator[str]:
    """Run a server on a port of this computer; yields its address."""
    addresses: list[str] = []
    running = Running(server, addresses.append)
    with listen(server.config) as listening:
        thread = threading.Thread(
            target=lambda: asyncio.run(running.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not addresses:
                assert thread.is_alive(), "the server ended at once"
                assert time.monotonic() < deadline, "the server does not begin"
                time.sleep(0.005)
            yield addresses[0]
        finally:
            running.should_exit = True
            thread.join(20)
            server.scheduler.close()
            assert not thread.is_alive(), "the server does not end"

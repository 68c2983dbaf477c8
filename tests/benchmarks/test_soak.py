"""A server under healthy and faulty clients for as long as one likes: nothing of it grows.

Its recogniser is a fake, and sound comes faster than it is spoken: three minutes are half an hour
of live speech. Memory, files and threads are those of the server's process alone.
"""

import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from benchmarks.measure import Say
from faulty_clients import (
    BINARY,
    FAULTS,
    START,
    TEXT,
    bad_sound,
    burst,
    eventually,
    finals,
    frame,
    gauges,
    handshake,
    said,
    vanish,
)
from served import RATE, bursts, heard_alone
from websockets.sync.client import connect

from echoic.streaming.client import stream

psutil = pytest.importorskip("psutil")
pytestmark = pytest.mark.timeout(0)  # none

MINUTES = float(os.environ.get("ECHOIC_BENCH_SOAK_MINUTES", "3"))
STREAMS = int(os.environ.get("ECHOIC_BENCH_SOAK_STREAMS", "4"))
SPEED = float(os.environ.get("ECHOIC_BENCH_SOAK_SPEED", "10"))  # of sound, beside the spoken
SAMPLE_SECONDS = 2.0
MOST_GROWTH = 8.0  # MB, from the second quarter to the last one
HELD = ("echoic_sessions", "echoic_streams", "echoic_texts_in_work", "echoic_files_in_work")
SOUNDS = [bursts(count) for count in (5, 8, 13)]
ALONE = [finals(heard_alone(sound)) for sound in SOUNDS]

PROGRAM = """
import sys
from pathlib import Path
from served import parts
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.running import run
config = ServerConfig(
    port=0, state_dir=Path(sys.argv[1]), checkpoint_seconds=0.5, requests_per_minute=1_000_000,
    resume_seconds=3.0, start_seconds=3.0, idle_seconds=3.0, ping_seconds=3.0,
)
run(parts(config, max_streams=64), lambda address: print(address, flush=True))
"""


class Sample(NamedTuple):
    """Of the server's process."""

    seconds: float
    megabytes: float
    files: int
    threads: int
    sessions: int


class Crowd:
    """Clients of all kinds, each in a thread, until they are told to stop."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self.done: dict[str, int] = {}
        self.errors: list[str] = []
        kinds = [self._listen] * STREAMS + [self._resume, self._record, self._speak, self._fail]
        self._threads = [
            threading.Thread(
                target=self._repeat, args=(kind, number), name=kind.__name__, daemon=True
            )
            for number, kind in enumerate(kinds)
        ]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        deadline = time.monotonic() + 180
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                assert thread.ident is not None
                where = "".join(traceback.format_stack(sys._current_frames()[thread.ident]))
                self.errors.append(f"{thread.name} does not end:\n{where[-2000:]}")

    def _repeat(self, work: Callable[[random.Random], str], number: int) -> None:
        rng = random.Random(number)
        while not self._stop.is_set():
            try:
                name = work(rng)
                self.done[name] = self.done.get(name, 0) + 1
            except Exception as error:
                self.errors.append(f"{work.__name__}: {type(error).__name__}: {error}"[:500])
            self._stop.wait(rng.uniform(0.1, 0.5))

    def _listen(self, rng: random.Random) -> str:
        which = rng.randrange(len(SOUNDS))
        found = [event.to_dict() for event in stream(self._address, _paced(SOUNDS[which]))]
        assert finals(found) == ALONE[which], "a healthy stream's text differs"
        return "streams"

    def _resume(self, rng: random.Random) -> str:
        which = rng.randrange(len(SOUNDS))
        sound, cut = SOUNDS[which], rng.randrange(RATE, 3 * RATE)
        link = handshake(self._address)
        link.sendall(frame(TEXT, START) + frame(BINARY, sound[:cut].tobytes()))
        told = b""
        while b'"ack"' not in told:
            data = link.recv(4096)
            if not data:  # the burst of another client has taken all room
                assert b'"busy"' in told, told
                return "streams without room"
            told += data
        name = told.split(b'"id":"')[1][:22].decode()
        vanish(link)
        with connect(self._address.replace("http", "ws") + "/v1/stream") as again:
            again.send(f'{{"type": "start", "resume": "{name}"}}')
            again.send(sound[cut:].tobytes())
            again.send('{"type": "eof"}')
            assert finals(said(again)) == ALONE[which], "a resumed stream's text differs"
        return "resumed streams"

    def _record(self, rng: random.Random) -> str:
        url, lines = f"{self._address}/v1/audio/transcriptions", "one\ntwo\nthree"
        form = rng.choice(["json", "srt", "vtt", "verbose_json", "text"])
        size = rng.choice([0, 0, 3 << 20])  # what is longer than a MiB goes through a file
        files = {"file": ("a.wav", lines.encode() + b" " * size)}
        data = {"response_format": form, "stream": str(form == "json").lower()}
        _busy_or(httpx.post(url, files=files, data=data, timeout=60), b"three")
        return "recordings"

    def _speak(self, rng: random.Random) -> str:
        form = rng.choice(["wav", "flac", "opus", "pcm"])
        body = {"input": "a " * rng.randrange(1, 60), "response_format": form}
        _busy_or(httpx.post(f"{self._address}/v1/audio/speech", json=body, timeout=60), b"")
        return "texts"

    def _fail(self, rng: random.Random) -> str:
        fault = rng.choice([*FAULTS, burst])
        own: dict[Any, dict[str, Any]] = {bad_sound: {"crowded": True}, burst: {"count": 60}}
        try:
            fault(self._address, **own.get(fault, {}))
        except AssertionError as error:
            raise AssertionError(f"{fault.__name__}: {error}") from error
        return "faults"


def _paced(sound: np.ndarray) -> Iterator[bytes]:
    for at in range(0, len(sound), RATE // 5):
        yield sound[at : at + RATE // 5].tobytes()
        time.sleep(0.2 / SPEED)


def _busy_or(response: httpx.Response, wanted: bytes) -> None:
    assert response.status_code == 503 or (
        response.status_code == 200 and wanted in response.content
    ), response.text[:300]


def test_nothing_grows(tmp_path: Path, say: Say):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        server, samples = psutil.Process(process.pid), list[Sample]()
        began = time.monotonic()
        with Crowd(address) as crowd:
            while (seconds := time.monotonic() - began) < 60 * MINUTES:
                assert process.poll() is None, "the server is gone"
                sessions = gauges(address)["echoic_sessions"]
                samples.append(
                    Sample(
                        seconds,
                        server.memory_info().rss / 1e6,
                        server.num_fds(),
                        server.num_threads(),
                        int(sessions),
                    )
                )
                time.sleep(SAMPLE_SECONDS)
        eventually(lambda: not any(gauges(address)[name] for name in HELD), 60)
        eventually(lambda: not list(tmp_path.iterdir()), 60)
        heard = gauges(address)["echoic_heard_seconds_total"]
        rest = Sample(0, server.memory_info().rss / 1e6, server.num_fds(), server.num_threads(), 0)
        process.terminate()
        assert process.wait(30) in (0, -15)
    finally:
        process.kill()
        process.communicate()
    second, last = _quarter(samples, 1), _quarter(samples, 3)
    hours = (last.seconds - second.seconds) / 3600
    say(f"{MINUTES:g} minutes, {heard / 60:.0f} minutes of live sound; {crowd.done}")
    say("| | MB | files | threads | sessions |\n| --- | --- | --- | --- | --- |")
    for name, row in (
        ("first sample", samples[0]),
        ("second quarter", second),
        ("last quarter", last),
        ("at rest after it", rest),
    ):
        say(f"| {name} | {row.megabytes:.1f} | {row.files} | {row.threads} | {row.sessions} |")
    slope = np.polyfit(
        [s.seconds / 3600 for s in samples[len(samples) // 4 :]],
        [s.megabytes for s in samples[len(samples) // 4 :]],
        1,
    )[0]
    say(f"slope of memory after the first quarter: {slope:+.2f} MB an hour ({hours:.2f} h apart)")
    for error in crowd.errors[:10]:
        say(error)
    assert not crowd.errors
    assert last.megabytes - second.megabytes < MOST_GROWTH
    assert rest.files <= samples[0].files + 4
    assert rest.threads <= samples[0].threads + 24  # pools keep theirs


def _quarter(samples: list[Sample], number: int) -> Sample:
    size = len(samples) // 4
    rows = np.array(samples[number * size : (number + 1) * size])
    middle = np.median(rows, axis=0)
    return Sample(middle[0], middle[1], *(int(value) for value in middle[2:]))

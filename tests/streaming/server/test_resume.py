"""Sessions outlive sockets and processes, and nothing is heard twice or lost."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from faulty_clients import vanish
from served import RATE, bursts, heard_alone, parts, plain, serving
from websockets.sync.client import ClientConnection, connect

from echoic.audio.io import AudioDecodeError
from echoic.streaming.client import StreamClient, StreamError, StreamOptions, stream, stream_file
from echoic.streaming.events import Event
from echoic.streaming.server.checkpoints import Store
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.sessions import Sessions

WAV = bursts(12)
FINALS = [event for event in heard_alone(WAV) if event["type"] == "final"]


def pieces(wav: np.ndarray[Any, Any] = WAV, seconds: float = 0.0) -> Iterator[bytes]:
    """Yield 0.1 s of sound at a time, with a pause before each."""
    for at in range(0, len(wav), RATE // 10):
        time.sleep(seconds)
        yield wav[at : at + RATE // 10].tobytes()


def finals(events: list[Event]) -> list[dict[str, Any]]:
    return [plain(event.to_dict()) for event in events if event.type == "final"]


def begin(address: str, **fields: Any) -> tuple[ClientConnection, dict[str, Any]]:
    link = connect(address.replace("http", "ws") + "/v1/stream").__enter__()
    link.send(json.dumps({"type": "start", "sample_rate": RATE, **fields}))
    return link, json.loads(link.recv(timeout=10))


def until(link: ClientConnection, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(link.recv(timeout=10))]
    while found[-1]["type"] != kind:
        found.append(json.loads(link.recv(timeout=10)))
    return found


def test_what_was_not_acknowledged_is_told_again(address: str):
    link, session = begin(address)
    link.send(WAV[: 4 * RATE].tobytes())
    told = until(link, "final")
    link.socket.close()  # without a word
    link, again = begin(address, resume=session["id"], seq=told[-1]["seq"] - 1)
    assert again["id"] == session["id"]
    assert again["position"] == 4 * RATE
    link.send(WAV[4 * RATE :].tobytes())
    link.send('{"type": "eof"}')
    events = [e for e in until(link, "done") if "seq" in e]
    assert [plain(e) for e in events if e["type"] == "final"] == FINALS
    link.close()


def test_sound_that_the_client_has_no_more_is_silence(address: str):
    link, session = begin(address)
    link.send(WAV[: 2 * RATE].tobytes())
    until(link, "partial")
    link.socket.close()
    link, again = begin(address, resume=session["id"], **{"from": 3 * RATE})
    assert again["position"] == 3 * RATE
    link.send(WAV[3 * RATE :].tobytes())
    link.send('{"type": "eof"}')
    heard = WAV.copy()
    heard[2 * RATE : 3 * RATE] = 0
    expected = [e for e in heard_alone(heard) if e["type"] == "final"]
    assert [plain(e) for e in until(link, "done") if e["type"] == "final"] == expected
    link.close()


def test_a_second_socket_takes_over(address: str):
    first, session = begin(address)
    first.send(WAV[:RATE].tobytes())
    until(first, "partial")
    second, again = begin(address, resume=session["id"])
    assert again["position"] == RATE
    with pytest.raises(Exception, match="4409"):
        until(first, "done")
    second.send('{"type": "eof"}')
    assert until(second, "done")
    second.close()


def test_a_client_loses_nothing_through_a_broken_network(address: str):
    with broken_network(address) as (broken, cuts):
        client = StreamClient(broken, StreamOptions(sample_rate=RATE))

        async def hear() -> list[Event]:
            return [event async for event in client.events(pieces(seconds=0.02))]

        events = asyncio.run(hear())
    assert len(cuts) >= 2
    assert client.reconnects >= 2
    assert finals(events) == FINALS


class broken_network:
    """Passes bytes on to a server, and breaks each of the first connections after a while."""

    def __init__(self, address: str, most: int = 60_000, times: int = 2) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._most, self._times = most, times
        self.cuts: list[int] = []

    def __enter__(self) -> tuple[str, list[int]]:
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}", self.cuts

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        passed = 0
        try:
            while data := source.recv(4096):
                target.sendall(data)
                passed += len(data)
                if counts and passed > self._most and len(self.cuts) < self._times:
                    self.cuts.append(passed)
                    break
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_session_goes_on_in_the_next_process(tmp_path: Path):
    config = ServerConfig(port=0, state_dir=tmp_path, checkpoint_seconds=0.05)
    with serving(parts(config)) as address:
        link, session = begin(address)
        link.send(WAV[: 3 * RATE].tobytes())
        assert until(link, "ack")[-1]["position"] == 3 * RATE
        link.send(WAV[3 * RATE : 5 * RATE].tobytes())
        until(link, "final")
    with pytest.raises(Exception, match="1012"):
        until(link, "done")
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".state"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    with serving(parts(config)) as address:
        link, again = begin(address, resume=session["id"], seq=0)
        assert again["position"] == 5 * RATE
        link.send(WAV[5 * RATE :].tobytes())
        link.send('{"type": "eof"}')
        events = until(link, "done")
        link.close()
        assert [plain(e) for e in events if e["type"] == "final"] == FINALS
        wait_until(lambda: not list(tmp_path.iterdir()))


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_damaged_checkpoint_is_a_session_that_is_not_there(tmp_path: Path):
    name = "A" * 22
    (tmp_path / f"{name}.json").write_text('{"id": 1}')
    (tmp_path / f"{name}.state").write_bytes(b"damaged")
    with serving(parts(ServerConfig(port=0, state_dir=tmp_path))) as address:
        link, answer = begin(address, resume=name)
        assert answer["code"] == "session_not_found"
        link.close()


def test_only_files_of_sessions_are_forgotten(tmp_path: Path):
    ours = [f"{'A' * 22}.json", f"{'A' * 22}.state", ".session.x_1y", f".{'B' * 22}.state.x_1y"]
    kept = [f"{'C' * 22}.json", "package.json", "solid.state", ".gitignore", ".x.state.y", "notes"]
    now = [time.time() + 10]
    store = Store(tmp_path, clock=lambda: now[0])
    for name in (*ours, *kept):
        (tmp_path / name).write_text("{}")
    store.sweep({"C" * 22}, keep_seconds=60)
    assert len(list(tmp_path.iterdir())) == len(ours) + len(kept)
    now[0] += 61
    store.sweep({"C" * 22}, keep_seconds=60)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_two_sockets_that_restore_a_session_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both wait for room, and come to it one after the other: there is one stream."""
    config = ServerConfig(port=0, state_dir=tmp_path, checkpoint_seconds=0.05)
    with serving(parts(config)) as address:
        link, session = begin(address)
        link.send(WAV[:RATE].tobytes())
        until(link, "ack")
        vanish(link.socket)
    server, opened = parts(config), Sessions.open_stream

    async def late(*args: Any, **settings: Any) -> Any:
        await asyncio.sleep(0.3)
        return await opened(*args, **settings)

    monkeypatch.setattr(Sessions, "open_stream", late)
    with serving(server) as address:
        asked = []
        for _ in range(2):
            asked.append(connect(address.replace("http", "ws") + "/v1/stream").__enter__())
            asked[-1].send(json.dumps({"type": "start", "resume": session["id"]}))
        told = [json.loads(link.recv(timeout=10)) for link in asked]
        assert [answer["position"] for answer in told] == [RATE, RATE]
        wait_until(lambda: server.scheduler.stats.streams == 1)
        for link in asked:
            link.close()


PROGRAM = """
import sys
from pathlib import Path
from served import parts
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.running import run
config = ServerConfig(port=int(sys.argv[1]), state_dir=Path(sys.argv[2]), checkpoint_seconds=0.1)
sys.stdin.readline()  # all is imported: the rest takes no time
run(parts(config), lambda address: print(address, flush=True))
"""


def long_word() -> np.ndarray[Any, Any]:
    """Return a word of five seconds with silence around it: whenever one strikes, it is spoken."""
    time_ = np.arange(5 * RATE) / RATE
    tone = (0.3 * 32767 * np.sin(2 * np.pi * 440 * time_)).astype(np.int16)
    return np.concatenate([np.zeros(RATE // 2, np.int16), tone, np.zeros(RATE, np.int16)])


def test_clients_lose_nothing_when_the_server_is_struck(tmp_path: Path):
    sounds = [WAV, WAV[RATE // 5 :], long_word()]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ready = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for _ in range(3)
    ]
    started: list[subprocess.Popen[str]] = []

    def start() -> None:
        process = ready[len(started)]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("http")
        started.append(process)

    def strike_twice() -> None:
        for blow in (signal.SIGTERM, signal.SIGKILL):
            time.sleep(0.4)
            started[-1].send_signal(blow)
            started[-1].wait(20)
            start()

    striker = threading.Thread(target=strike_twice)
    try:
        start()
        striker.start()
        url = f"http://127.0.0.1:{port}"

        def hear(wav: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
            return finals(list(stream(url, paced(wav, striker), sample_rate=RATE)))

        with ThreadPoolExecutor(len(sounds)) as threads:
            heard = list(threads.map(hear, sounds))
        for told, wav in zip(heard, sounds, strict=True):
            assert told == [event for event in heard_alone(wav) if event["type"] == "final"]
        assert len(heard[2][0]["words"]) == 1
        assert len(started) == 3
    finally:
        for process in ready:
            process.kill()
            process.communicate()


def paced(wav: np.ndarray[Any, Any], striker: threading.Thread) -> Iterator[bytes]:
    """Yield sound as a microphone does, whose last second comes when the server was struck."""
    parts = list(pieces(wav))
    for number, part in enumerate(parts):
        if number == len(parts) - 10:
            striker.join()
        time.sleep(0.02)
        yield part


def test_a_file_is_heard_as_fast_as_it_goes(address: str, tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", WAV, RATE)
    assert finals(list(stream_file(address, tmp_path / "a.flac"))) == FINALS
    with pytest.raises(AudioDecodeError):
        list(stream_file(address, Path(__file__)))


def test_a_silent_source_keeps_its_socket(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("echoic.streaming.client._PING_SECONDS", 0.05)

    def with_a_pause() -> Iterator[bytes]:
        yield WAV[:RATE].tobytes()
        time.sleep(0.8)
        yield WAV[RATE:].tobytes()

    async def hear(client: StreamClient) -> list[Event]:
        return [event async for event in client.events(with_a_pause())]

    with serving(parts(ServerConfig(port=0, idle_seconds=0.3))) as address:
        client = StreamClient(address)
        assert finals(asyncio.run(hear(client))) == FINALS
        assert client.reconnects == 0


def test_a_client_says_what_the_server_refuses(address: str):
    with pytest.raises(StreamError, match="no model 'nobody'") as refused:
        list(stream(address, pieces(), model="nobody"))
    assert refused.value.code == "model_not_found"
    with pytest.raises(StreamError, match="cannot be reached"):
        list(stream("http://127.0.0.1:9", pieces(), patience=0.3))
    with pytest.raises(ValueError, match="is no server"):
        list(stream("ftp://nowhere", pieces()))


@pytest.mark.parametrize("has_files", [True, False])
def test_clients_that_are_gone_make_room(
    has_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("echoic.streaming.server.sessions._LONG_AWAY", 0.2)
    folder = tmp_path if has_files else None
    server = parts(ServerConfig(port=0, state_dir=folder, checkpoint_seconds=0.05), max_streams=2)
    with serving(server) as address:
        gone = []
        for _ in range(2):
            link, session = begin(address)
            link.send(WAV[:RATE].tobytes())
            until(link, "ack")
            link.socket.close()
            gone.append(session["id"])
        link, answer = begin(address)
        assert answer["type"] == "busy", "they may come back at once"
        link.close()
        time.sleep(0.25)
        link, answer = begin(address)
        assert answer["type"] == "session"
        link.send('{"type": "eof"}')
        until(link, "done")
        link.close()
        link, answer = begin(address, resume=gone[0])
        assert answer.get("position") == (RATE if has_files else None)
        assert answer.get("code") == (None if has_files else "session_not_found")
        link.close()

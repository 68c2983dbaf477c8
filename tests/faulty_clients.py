"""Clients that vanish, lie, flood and do not listen, and healthy ones beside them."""

import asyncio
import base64
import contextlib
import json
import os
import random
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
from served import RATE, bursts, heard_alone, plain
from websockets.sync.client import connect

from echoic.streaming.client import StreamClient
from echoic.streaming.events import Event

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
PIECE = RATE // 10
SOUND = bursts(12)
START = b'{"type": "start", "sample_rate": 16000}'


def raw(address: str, *, receive_bytes: int | None = None) -> socket.socket:
    """Return a plain connection to a server, with a small buffer for what it sends if asked."""
    host, port = address.removeprefix("http://").split(":")
    link = socket.socket()
    link.settimeout(20)
    if receive_bytes is not None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    link.connect((host, int(port)))
    return link


def handshake(address: str, path: str = "/v1/stream", **options: Any) -> socket.socket:
    """Return a connection that is a WebSocket from now on, and that answers nothing by itself."""
    link = raw(address, **options)
    key = base64.b64encode(os.urandom(16)).decode()
    link.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = link.recv(1)
        if not data:
            raise ConnectionError(f"no handshake: {head!r}")
        head += data
    assert b" 101 " in head, head
    return link


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80, masked: bool = True) -> bytes:
    """Return one frame; `first` are the bits before the opcode."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack(">BB", first | opcode, mask_bit | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first | opcode, mask_bit | 126, size)
    else:
        head = struct.pack(">BBQ", first | opcode, mask_bit | 127, size)
    return head + (bytes(4) if masked else b"") + payload  # a mask of zeros changes nothing


def vanish(link: socket.socket) -> None:
    """Be gone without a word: the other side gets a reset."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def is_cut(link: socket.socket, seconds: float = 20.0) -> bool:
    """Return whether the server ends a connection in time; what it says before is read."""
    link.settimeout(seconds)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if not link.recv(1 << 16):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


class Healthy:
    """Streams that go on while others misbehave; afterwards their texts must be as if alone."""

    def __init__(self, address: str, count: int = 2) -> None:
        self._address = address
        self._count = count
        self._stop = threading.Event()
        self._results: list[tuple[StreamClient, list[bytes], list[Event]]] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Healthy":
        self._thread.start()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if kind is not None:
            return
        assert not self._thread.is_alive(), "a healthy stream does not end"
        if self._error is not None:
            raise self._error
        assert len(self._results) == self._count
        for client, sent, events in self._results:
            assert client.reconnects == 0, "a healthy stream was cut"
            alone = heard_alone(np.frombuffer(b"".join(sent), "<i2"))
            assert finals([event.to_dict() for event in events]) == finals(alone)

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self._error = error

    async def _all(self) -> None:
        await asyncio.gather(*(self._one(number) for number in range(self._count)))

    async def _one(self, number: int) -> None:
        sent: list[bytes] = []
        client = StreamClient(self._address)
        events = [event async for event in client.events(self._speak(sent, 7 * number))]
        self._results.append((client, sent, events))

    async def _speak(self, sent: list[bytes], first: int) -> AsyncIterator[bytes]:
        pieces = len(SOUND) // PIECE
        while not self._stop.is_set() or len(sent) < 25:
            at = (first + len(sent)) % pieces * PIECE
            sent.append(SOUND[at : at + PIECE].tobytes())
            yield sent[-1]
            await asyncio.sleep(0.02)


def vanishing(address: str) -> None:
    """Streams, a recording and texts whose clients are gone in the midst."""
    for number in range(12):
        link = handshake(address)
        link.sendall(frame(TEXT, START) + frame(BINARY, SOUND[: 4000 * (number + 1)].tobytes()))
        if number % 2:
            link.recv(1)
            link.sendall(frame(TEXT, b'{"type": "eof"}'))
        vanish(link)
    for path in ("/v1/realtime", "/v1/audio/speech/stream"):
        link = handshake(address, path)
        link.sendall(frame(TEXT, b'{"type": "text", "text": "one two three"}'))
        vanish(link)
    for form in ("audio", "sse"):
        link = raw(address)
        body = {"input": "a " * 2000, "response_format": "wav", "stream_format": form}
        link.sendall(_post("/v1/audio/speech", json.dumps(body).encode(), "application/json"))
        link.recv(100)
        vanish(link)
    link = raw(address)
    link.sendall(
        _post("/v1/audio/transcriptions", b"--x\r\n", "multipart/form-data; boundary=x", 9)
    )
    vanish(link)


def half_open(address: str) -> None:
    """Sockets that answer no ping, with and without a stream."""
    links = [handshake(address, p) for p in ("/v1/stream", "/v1/stream", "/v1/realtime")]
    links[0].sendall(frame(TEXT, START) + frame(BINARY, SOUND.tobytes()))
    assert all(is_cut(link) for link in links)


def deaf(address: str) -> None:
    """Clients that do not read what they asked for."""
    links = []
    for number in range(5):
        link = raw(address, receive_bytes=4096)
        form = "sse" if number % 2 else "audio"
        body = {"input": "a " * 2000, "response_format": "wav", "stream_format": form}
        link.sendall(_post("/v1/audio/speech", json.dumps(body).encode(), "application/json"))
        links.append(link)
    for link in links:
        link.recv(1)  # there is an answer, so whoever has a place has taken it
    link = handshake(address, "/v1/audio/speech/stream", receive_bytes=4096)
    link.sendall(frame(TEXT, json.dumps({"type": "text", "text": "a " * 2000}).encode()))
    links.append(link)
    eventually(lambda: _says_a_word(address))
    for link in links:
        link.close()


def _says_a_word(address: str) -> bool:
    body = {"input": "one", "response_format": "wav"}
    return httpx.post(f"{address}/v1/audio/speech", json=body, timeout=20).status_code == 200


def silent(address: str) -> None:
    """Connections that never ask for anything, or never to the end."""
    links = [raw(address) for _ in range(10)]
    for number, link in enumerate(links):
        link.sendall([b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"GE"][number % 3])
    link = raw(address)
    link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    link.recv(100)
    link.sendall(b"GET /healthz HTT")  # a second one on the same connection
    assert all(is_cut(link) for link in [*links, link])


def garbage(address: str) -> None:
    """Bytes that are no HTTP, heads without end, sockets that break the protocol."""
    rng = random.Random(3)
    upgrade = b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    for data in (
        rng.randbytes(5000),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 300_000,
        b"GET /" + b"a" * 300_000,
        upgrade + b"Connection: Upgrade\r\n\r\n",
        upgrade
        + b"Connection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 9\r\n\r\n",
        upgrade + b"Connection: Upgrade\r\n" + b"X-Many: a\r\n" * 500 + b"\r\n",
        upgrade + b"Connection: Upgrade\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
    ):
        link = raw(address)
        with contextlib.suppress(OSError):
            link.sendall(data)
        assert is_cut(link), data[:80]
    for data in (
        rng.randbytes(2000),
        frame(BINARY, bytes(10), masked=False),
        frame(3, b"reserved"),
        frame(TEXT, b"\xff\xfe"),
        frame(BINARY, b"x", first=0xF0),
        frame(0, b"a continuation of nothing"),
        frame(PING, bytes(200)),
        struct.pack(">BBQ", 0x82, 0xFF, (1 << 63) - 1) + bytes(4),
        struct.pack(">BBQ", 0x82, 0xFF, 3 << 20) + bytes(4),
        frame(BINARY, bytes(700_000), first=0) + frame(0, bytes(700_000)),
        frame(CLOSE, b"\x00"),
        frame(CLOSE, struct.pack(">H", 4999)),
    ):
        for before in (b"", frame(TEXT, START)):
            link = handshake(address)
            with contextlib.suppress(OSError):
                link.sendall(before + data)
            assert is_cut(link), data[:40]


def nonsense(address: str) -> None:
    """Messages that are well formed and mean nothing; the socket is closed with the reason."""
    url = address.replace("http", "ws")
    for path, message, code in (
        ("/v1/stream", '{"type": "start", "sample_rate": 0}', 4400),
        ("/v1/stream", '{"type": "start", "sample_rate": 1e400}', 4400),
        ("/v1/stream", '{"type": "start", "from": ' + "9" * 400 + "}", 4400),
        ("/v1/stream", '{"type": "start", "\\ud800": 1}', 4400),
        ("/v1/stream", '{"type": "start", "model": "\\ud800"}', 4400),
        ("/v1/stream", "[" * 100_000, 4400),
        ("/v1/stream", '{"a":' * 50_000, 4400),
        ("/v1/stream", "\0", 4400),
        ("/v1/audio/speech/stream", '{"type": "text", "text": "\\udfff"}', 4400),
        ("/v1/audio/speech/stream", '{"type": "text", "text": ["a"]}', 4400),
        ("/v1/audio/speech/stream", b"\0" * 100, 4400),
    ):
        with connect(url + path) as link:
            link.send(message)
            told = json.loads(link.recv(timeout=20))
            assert told["type"] == "error", told
            assert "Traceback" not in told["message"]
            assert is_closed_with(link) == code, (path, message[:60])
    with connect(url + "/v1/realtime") as link:
        link.recv(timeout=20)
        for message in ("[]", '{"type": ["x"]}', '{"type": "session.update", "session": 3}', b"\0"):
            link.send(message)
            assert json.loads(link.recv(timeout=20))["type"] == "error"
        for audio in ("x", "\u00e9", "AAAA", 3, None):
            link.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            assert json.loads(link.recv(timeout=20))["type"] == "error"


def is_closed_with(link: Any) -> int | None:
    """Read a socket of `websockets` to its end; return its close code."""
    with contextlib.suppress(Exception):
        while True:
            link.recv(timeout=20)
    return link.close_code


def bad_sound(address: str, *, crowded: bool = False) -> None:
    """NaN and infinity, nothing, crumbs in a flood, and far too much at once.

    Where it is crowded, a server may say that it is busy.
    """
    url = address.replace("http", "ws") + "/v1/stream"
    minute = np.tile(SOUND, 10)  # comes a hundred times as fast as it is spoken
    odd = [np.full(PIECE, value, "<f4") for value in (np.nan, np.inf, -np.inf, 3e38, 1e-42)]
    crumbs = [SOUND[at : at + 2] for at in range(0, 4000, 2)]
    for query, sound, position in (
        ("?encoding=f32le", odd, 5 * PIECE),
        ("", [*[SOUND[:0]] * 500, *crumbs], 4000),
        ("", np.split(minute, range(10 * RATE, len(minute), 10 * RATE)), len(minute)),
    ):
        with connect(url + query) as link:
            for piece in sound:
                link.send(piece.tobytes())
            link.send('{"type": "eof"}')
            told = said(link)
        if crowded and told[-1]["type"] == "busy":
            return
        assert told[-1] == {"type": "done", "position": position}
    assert finals(told) == finals(heard_alone(minute))


def said(link: Any) -> list[dict[str, Any]]:
    """Return what a socket of `websockets` tells until all is said."""
    told = [json.loads(link.recv(timeout=20))]
    while told[-1]["type"] not in ("done", "error", "busy"):
        told.append(json.loads(link.recv(timeout=20)))
    return told


def finals(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the finals of what was told, without what differs from time to time."""
    return [plain(event) for event in told if event["type"] == "final"]


def burst(address: str, count: int = 1000) -> int:
    """So many sockets at once; all are answered, with a session or with busy.

    Returns:
        How many have a session.
    """
    links = [raw(address) for _ in range(count)]
    key = base64.b64encode(bytes(16)).decode()
    ask = (
        "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    for link in links:
        link.sendall(ask)
    heard = [_until(link, b"\r\n\r\n") for link in links]
    for link in links:
        with contextlib.suppress(OSError):  # it is turned away already
            link.sendall(frame(TEXT, START))
    answers = {b"session": 0, b"busy": 0}
    for link, got in zip(links, heard, strict=True):
        told = _until(link, b"}", got)
        answers[next(kind for kind in answers if b'"type":"%b"' % kind in told)] += 1
        vanish(link)
    return answers[b"session"]


def _until(link: socket.socket, end: bytes, got: bytes = b"") -> bytes:
    while end not in got:
        data = link.recv(4096)
        assert data, got
        got += data
    return got


FAULTS: tuple[Callable[[str], None], ...] = (
    vanishing,
    half_open,
    deaf,
    silent,
    garbage,
    nonsense,
    bad_sound,
)


def _post(path: str, body: bytes, media: str, more: int = 0) -> bytes:
    """Return a request that says to be `more` bytes longer than it is."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}"
    return f"{head}\r\nContent-Length: {len(body) + more}\r\n\r\n".encode() + body


def gauges(address: str) -> dict[str, float]:
    """Return what the server tells Prometheus, by name."""
    lines = httpx.get(f"{address}/metrics", timeout=60).text.splitlines()
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if x[0] != "#")}


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

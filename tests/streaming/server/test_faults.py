"""Whatever some clients do, others are heard as if alone, and nothing stays behind."""

import asyncio
import base64
import io
import json
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import soundfile
from faulty_clients import (
    BINARY,
    FAULTS,
    SOUND,
    START,
    TEXT,
    Healthy,
    burst,
    eventually,
    finals,
    frame,
    gauges,
    handshake,
    raw,
    said,
    vanish,
)
from served import RATE, heard_alone, parts, serving
from websockets.sync.client import connect

from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.frames import OpusFrames
from echoic.streaming.server.sessions import Sessions
from echoic.streaming.server.stream_settings import StreamSettings

CONFIG = ServerConfig(
    port=0,
    requests_per_minute=10**6,
    resume_seconds=0.5,
    start_seconds=1.0,
    idle_seconds=1.0,
    ping_seconds=1.0,
    speech_workers=2,
    max_waiting=1,
)


@pytest.fixture(scope="module")
def harassed() -> Iterator[str]:
    with serving(parts(CONFIG, max_streams=40)) as found:
        yield found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_others_are_not_disturbed_and_nothing_stays(fault: Callable[[str], None], harassed: str):
    httpx.get(f"{harassed}/healthz")
    files, threads = len(os.listdir("/dev/fd")), threading.active_count()
    with Healthy(harassed):
        fault(harassed)
    held = ("echoic_streams", "echoic_sessions", "echoic_texts_in_work", "echoic_files_in_work")
    eventually(lambda: not any(gauges(harassed)[name] for name in held))
    # What asyncio and a pool keep for next time: a thread a worker, at most.
    eventually(lambda: len(os.listdir("/dev/fd")) <= files + 3)
    eventually(lambda: threading.active_count() <= threads + 12)
    assert httpx.get(f"{harassed}/healthz").json() == {"status": "ok"}


def test_a_thousand_sockets_at_once_are_all_answered():
    """With others beside them."""
    config = ServerConfig(port=0, requests_per_minute=10**6, resume_seconds=0.5)
    with serving(parts(config, max_streams=40)) as address:
        files = len(os.listdir("/dev/fd"))
        with Healthy(address):
            assert burst(address) > 0
        eventually(lambda: not gauges(address)["echoic_streams"])
        eventually(lambda: len(os.listdir("/dev/fd")) <= files + 3)


def test_what_was_told_and_not_read_is_told_again(harassed: str):
    link = handshake(harassed)
    link.sendall(frame(TEXT, START))
    session = json.loads(link.recv(4096)[2:])
    link.sendall(frame(BINARY, SOUND.tobytes()) + frame(TEXT, b'{"type": "eof"}'))
    eventually(lambda: not gauges(harassed)["echoic_streams"])  # all was heard, and told
    vanish(link)
    with connect(harassed.replace("http", "ws") + "/v1/stream") as again:
        again.send(json.dumps({"type": "start", "resume": session["id"]}))
        told = said(again)
    assert told[-1] == {"type": "done", "position": len(SOUND)}
    assert finals(told) == finals(heard_alone(SOUND))


def test_three_sockets_want_one_session_and_nobody_waits_for_ever():
    server = parts()

    async def take_over() -> list[int]:
        sessions = Sessions(server.scheduler, server.catalog, CONFIG, server.metrics)
        session = await sessions.open(StreamSettings())
        loop, left = asyncio.get_running_loop(), list[int]()

        def be_there(number: int) -> None:
            def part(code: int, reason: str) -> None:
                def leave() -> None:
                    if session.part is part:
                        left.append(number)
                        sessions.leave(session)

                loop.call_later(0.05, leave)

            session.part = part

        async def come(number: int) -> None:
            await sessions.resume(session.identity.id)
            be_there(number)

        be_there(0)
        async with asyncio.timeout(10):
            await asyncio.gather(come(1), come(2))
        sessions.close()
        return left

    try:
        left = asyncio.run(take_over())
    finally:
        server.scheduler.close()
    assert left[0] == 0
    assert len(left) == 2


def silence(hours: float) -> bytes:
    """Return an Ogg stream with Opus: silence of which a second takes less than thirty bytes."""
    packet = bytes([0b11111_0_11, 6])  # six frames of 20 ms, CELT, without a byte of data
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<II", 0, 0)
    pages = [page([head], 0, 0, 2), page([tags], 1, 0, 0)]
    for number in range(round(hours * 3600 / (0.12 * 255))):
        pages.append(page([packet] * 255, number + 2, (number + 1) * 255 * 5760, 0))
    return b"".join(pages)


def page(packets: list[bytes], number: int, position: int, flags: int) -> bytes:
    body = b"".join(packets)
    sizes = bytes(len(packet) for packet in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 7, number, 0, len(sizes)) + sizes
    check = 0
    for byte in head + body:
        check = (check << 8 & 0xFFFFFFFF) ^ TABLE[check >> 24 ^ byte]
    return head[:22] + struct.pack("<I", check) + head[26:] + body


def table() -> list[int]:
    found = []
    for start in range(256):
        value = start << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value >> 31 else 0)
        found.append(value)
    return found


TABLE = table()


def test_hours_in_a_few_bytes_are_not_decoded_ahead():
    bomb = silence(2.0)
    assert len(bomb) < 300_000
    frames = OpusFrames()
    ready = frames.feed(bomb)
    deadline = time.monotonic() + 20
    while not ready:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        ready = frames.feed(b"")
    time.sleep(0.3)
    for _ in range(3):
        assert sum(wav.shape[1] for wav in ready) <= 10 * frames.sample_rate
        assert frames.is_busy
        ready = frames.feed(b"")
    decoders = [t for t in threading.enumerate() if t.name == "echoic-opus"]
    frames.close()
    for thread in decoders:
        thread.join(10)
        assert not thread.is_alive()
    with serving(parts(ServerConfig(port=0, max_stream_seconds=20))) as address:
        with connect(address.replace("http", "ws") + "/v1/stream?encoding=opus") as link:
            link.send(bomb)
            told = said(link)
        assert told[-1]["code"] == "stream_too_long"


def test_other_ogg_streams_are_refused(harassed: str):
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE, format="OGG", subtype="VORBIS")
    with connect(harassed.replace("http", "ws") + "/v1/stream?encoding=opus") as link:
        link.send(file.getvalue())
        link.send('{"type": "eof"}')
        assert said(link)[-1]["code"] == "bad_sound"


def test_requests_without_a_file_are_short_and_uploads_are_few():
    with serving(parts(ServerConfig(port=0, max_uploads=1, idle_seconds=5))) as address:
        got = httpx.post(f"{address}/v1/audio/speech", content=b"[" * 2_000_000)
        assert got.status_code == 413
        url = f"{address}/v1/audio/transcriptions"
        with raw(address) as link:
            link.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                b"multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x"
            )
            eventually(lambda: httpx.post(url, files={"file": b"a"}).status_code == 503)
        eventually(lambda: httpx.post(url, files={"file": b"a"}).status_code == 200)
        parts_ = [(f"f{number}", (None, "x")) for number in range(1200)]
        assert httpx.post(url, files=[*parts_, ("file", b"a")]).status_code == 400


def test_what_clients_make_up_has_no_metric_of_its_own(harassed: str):
    url = harassed.replace("http", "ws") + "/v1/stream"
    for code in (3000, 3999, 4999):
        with connect(url) as link:
            link.close(code)
    httpx.get(f"{harassed}/v1/{'x' * 50}")
    for origin in ("http://[", "http://[::1", "//"):
        got = httpx.get(f"{harassed}/v1/models", headers={"Origin": origin})
        assert got.status_code == 403
    name = 'echoic_requests_total{route="/v1/stream",status="other"}'
    eventually(lambda: gauges(harassed).get(name, 0) >= 3)
    text = httpx.get(f"{harassed}/metrics").text
    assert not any(word in text for word in ('"3000"', '"4999"', "xxx"))


def test_a_worker_that_fails_is_told_and_seen(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    server = parts()
    with serving(server) as address, connect(address.replace("http", "ws") + "/v1/stream") as link:
        link.send(START.decode())
        assert json.loads(link.recv(timeout=10))["type"] == "session"
        monkeypatch.setattr("echoic.streaming.stream.Stream.settle", fail)
        link.send(SOUND[:RATE].tobytes())
        told = said(link)
        assert told[-1]["code"] == "recognizer_failed"
        assert httpx.get(f"{address}/healthz").status_code == 503


def test_one_socket_takes_few_places_however_many_turns_it_begins():
    with serving(parts(max_streams=5)) as address:
        with connect(address.replace("http", "ws") + "/v1/realtime") as link:
            sound = base64.b64encode(bytes(9600)).decode()
            for _ in range(12):
                link.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))
                link.send('{"type": "input_audio_buffer.commit"}')
            kinds: list[str] = []
            while sum(kind.endswith(".completed") for kind in kinds) < 12:
                kinds.append(json.loads(link.recv(timeout=20))["type"])
        assert "error" not in kinds


def test_a_session_that_has_ended_keeps_no_state():
    server = parts(ServerConfig(port=0, resume_seconds=60))
    with serving(server) as address:
        link = handshake(address)
        link.sendall(frame(TEXT, START) + frame(BINARY, SOUND.tobytes()))
        link.sendall(frame(TEXT, b'{"type": "eof"}'))
        kept = server.sessions
        assert kept is not None
        eventually(lambda: len(kept.kept) == 1)
        (session,) = kept.kept
        eventually(lambda: session.ended)
        vanish(link)
        assert session.stream is None
        assert kept.kept == [session]

"""`/v1/stream`: what goes over the wire."""

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from served import RATE, bursts, heard_alone, parts, plain, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from echoic.streaming.server.config import ServerConfig


def open_socket(address: str, query: str = "", **options: Any) -> ClientConnection:
    return connect(address.replace("http", "ws") + f"/v1/stream{query}", **options)


def tell(socket: ClientConnection, **fields: Any) -> None:
    socket.send(json.dumps(fields))


def rest(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return what comes until the server has said all."""
    found = []
    while True:
        message = json.loads(socket.recv(timeout=20))
        if message["type"] != "ack":
            found.append(message)
        if message["type"] in ("done", "error", "busy"):
            return found


def close_code(socket: ClientConnection) -> int:
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=10)
    assert socket.close_code is not None
    return socket.close_code


def test_a_stream_tells_what_a_session_tells(address: str):
    wav = bursts(6)
    with open_socket(address) as socket:
        tell(socket, type="start", sample_rate=RATE, encoding="pcm_s16le", language="en")
        data = wav.tobytes()
        for at in range(0, len(data), 3333):  # in the middle of samples, too
            socket.send(data[at : at + 3333])
        tell(socket, type="eof")
        session, *events, done = rest(socket)
    assert session["type"] == "session"
    assert session["position"] == 0
    assert session["model"] == "words"
    expected = heard_alone(wav)
    told = {event["seq"]: plain(event) for event in events}
    assert [told[n] for n in sorted(told)] == [expected[n - 1] for n in sorted(told)]
    assert [e for e in told.values() if e["type"] != "partial"] == [
        e for e in expected if e["type"] != "partial"
    ]
    assert done == {"type": "done", "position": len(wav)}


@pytest.mark.parametrize("encoding", ["f32le", "opus"])
def test_other_codings_are_heard(encoding: str, address: str):
    wav = np.stack([bursts(5), np.zeros_like(bursts(5))], axis=1)
    if encoding == "f32le":
        data = (wav / np.float32(32768)).astype("<f4").tobytes()
    else:
        data = opus(wav[:, 0])
    with open_socket(address, f"?encoding={encoding}&channels={2 - (encoding == 'opus')}") as s:
        for at in range(0, len(data), 20_000):
            s.send(data[at : at + 20_000])
        tell(s, type="eof")
        *_, last, done = rest(s)
    assert last["type"] == "final"
    assert done["position"] == pytest.approx(len(wav), abs=400)
    mono = wav[:, 0] if encoding == "opus" else wav.mean(axis=1).astype(np.int16)
    assert len(last["words"]) == len(heard_alone(mono)[-1]["words"])


def opus(wav: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wav, RATE, format="OGG", subtype="OPUS")
    return file.getvalue()


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ('{"type": "start", "sample_rate": 7}', 4400),
        ('{"type": "start", "sample_rate": "16000"}', 4400),
        ('{"type": "start", "encoding": "mp7"}', 4400),
        ('{"type": "start", "channels": 99}', 4400),
        ('{"type": "start", "colour": 1}', 4400),
        ('{"type": "start", "language": "xx"}', 4400),
        ('{"type": "start", "model": "nobody"}', 4404),
        ('{"type": "start", "resume": "../../etc/passwd"}', 4404),
        ('{"type": "start", "resume": "AAAAAAAAAAAAAAAAAAAAAA"}', 4404),
        ('{"type": "eof"}', 4400),
        ("[1]", 4400),
        ("{", 4400),
        ("[" * 100_000, 4400),
    ],
)
def test_a_bad_start_is_refused_by_name_and_code(start: str, code: int, address: str):
    with open_socket(address) as socket:
        socket.send(start)
        message = json.loads(socket.recv(timeout=10))
        assert message["type"] == "error"
        assert message["message"]
        assert "Traceback" not in message["message"]
        assert close_code(socket) == code


@pytest.mark.parametrize("bad", ['{"type": "dance"}', '{"type": "ack", "seq": "x"}', "nothing"])
def test_garbage_in_the_midst_ends_the_socket_and_not_the_session(bad: str, address: str):
    wav = bursts(4)
    with open_socket(address) as socket:
        socket.send(wav[:16_000].tobytes())
        session = json.loads(socket.recv(timeout=10))
        socket.send(bad)
        assert rest(socket)[-1]["type"] == "error"
        assert close_code(socket) == 4400
    with open_socket(address) as socket:
        tell(socket, type="start", resume=session["id"])
        again = json.loads(socket.recv(timeout=10))
        assert again["position"] == 16_000
        socket.send(wav[16_000:].tobytes())
        tell(socket, type="eof")
        *_, last, _ = rest(socket)
    assert plain(last) == heard_alone(wav)[-1]


def test_what_is_not_opus_is_told(address: str):
    with open_socket(address, "?encoding=opus") as socket:
        socket.send(bytes(50_000))
        tell(socket, type="eof")
        assert rest(socket)[-1]["code"] == "bad_sound"


def test_limits_of_frames_streams_and_silence():
    config = ServerConfig(
        port=0, max_frame_bytes=4000, max_stream_seconds=0.5, idle_seconds=0.3, start_seconds=0.3
    )
    with serving(parts(config)) as address:
        with open_socket(address) as socket:  # says nothing
            assert json.loads(socket.recv(timeout=10))["code"] == "idle"
            assert close_code(socket) == 4408
        with open_socket(address) as socket:
            socket.send(bytes(4001))
            assert close_code(socket) == 1009
        with open_socket(address) as socket:
            for _ in range(10):
                socket.send(bytes(4000))
            assert rest(socket)[-1]["code"] == "stream_too_long"
            assert close_code(socket) == 4413


def test_no_room_is_told_as_busy():
    server = parts(max_streams=1)
    server.scheduler.open(server.catalog.live[0].recognizer, sample_rate=RATE)
    with serving(server) as address, open_socket(address) as socket:
        tell(socket, type="start")
        (message,) = rest(socket)
        assert message["type"] == "busy"
        assert message["retry_after"] > 0
        assert close_code(socket) == 1013

"""Keys, origins, hosts, sizes, rates and queues: who gets in, and how much."""

import contextlib
import json
import socket
import threading
from typing import Any

import httpx
import pytest
from served import FakeFiles, bursts, parts, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.keys import ENVIRONMENT, Keys
from echoic.streaming.server.limits import RateLimit

KEY = "correct horse"


def upload(address: str, data: bytes = b"words", **options: Any) -> httpx.Response:
    url = f"{address}/v1/audio/transcriptions"
    return httpx.post(url, files={"file": ("a.wav", data)}, timeout=20, **options)


def first_word(address: str, path: str = "/v1/stream", **options: Any) -> tuple[dict, int]:
    with connect(address.replace("http", "ws") + path, **options) as link:
        message = json.loads(link.recv(timeout=10))
        with contextlib.suppress(ConnectionClosed):
            link.recv(timeout=10)
        return message, link.close_code or 0


def test_without_the_key_nothing_is_told_but_life():
    with serving(parts(keys=[KEY])) as address:
        assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
        assert httpx.get(address).status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            refused = httpx.get(f"{address}{path}")
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert refused.headers["www-authenticate"] == "Bearer"
        for key, status in (("wrong", 401), (KEY[:-1], 401), (KEY, 200)):
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx.get(f"{address}/v1/models", headers=headers).status_code == status
            assert upload(address, headers=headers).status_code == status
        for path in ("/v1/stream", "/v1/realtime", "/v1/audio/speech/stream"):
            message, code = first_word(address, path)
            assert message["code"] == "invalid_api_key"
            assert code == 4401


def test_a_browser_sends_its_key_as_a_subprotocol():
    with serving(parts(keys=["k3y"])) as address:
        url = address.replace("http", "ws") + "/v1/realtime"
        offers: Any = ["realtime", "openai-insecure-api-key.k3y"]
        with connect(url, subprotocols=offers) as link:
            assert json.loads(link.recv(timeout=10))["type"] == "session.created"
            assert link.subprotocol == "realtime"


def test_keys_come_from_the_environment_and_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\none\n\n two \n")
    keys = Keys.read(file, {ENVIRONMENT: "three"})
    assert [keys.open_for(key) for key in ("one", "two", "three", "# ours", "", None)] == [
        *[True] * 3,
        *[False] * 3,
    ]
    assert not Keys.read(None, {})
    assert Keys.read(None, {}).open_for(None)
    file.write_text("# none\n")
    with pytest.raises(ValueError, match="holds no key"):
        Keys.read(file, {})


def test_pages_of_others_are_refused():
    config = ServerConfig(port=0, allow_origins=("https://friend.example",))
    with serving(parts(config)) as address:
        for origin, status in (
            ("https://evil.example", 403),
            ("null", 403),
            (address, 200),
            ("https://friend.example", 200),
        ):
            got = httpx.get(f"{address}/v1/models", headers={"Origin": origin})
            assert got.status_code == status, origin
        assert got.headers["access-control-allow-origin"] == "https://friend.example"
        message, code = first_word(address, origin="https://evil.example")
        assert (message["code"], code) == ("forbidden_origin", 4403)
        rebound = httpx.get(f"{address}/v1/models", headers={"Host": "evil.example"})
        assert rebound.status_code == 403


def test_bodies_have_a_size():
    config = ServerConfig(port=0, max_upload_bytes=5000)
    with serving(parts(config)) as address:
        assert upload(address, bytes(1000)).status_code == 200
        assert upload(address, bytes(6000)).json()["error"]["code"] == "request_too_large"

        def chunks():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(20):
                yield bytes(1000)
            yield b"\r\n--x--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        got = httpx.post(f"{address}/v1/audio/transcriptions", content=chunks(), headers=headers)
        assert got.status_code == 413
        assert "MiB" in got.json()["error"]["message"]


def test_requests_have_a_rate():
    now = [0.0]
    rate = RateLimit(60, clock=lambda: now[0])
    assert [rate.wait("a") for _ in range(60)] == [0.0] * 60
    assert rate.wait("a") == pytest.approx(1.0)
    assert rate.wait("b") == 0
    now[0] += 1.5
    assert rate.wait("a") == 0
    assert rate.wait("a") > 0
    with serving(parts(ServerConfig(port=0, requests_per_minute=2))) as address:
        answers = [httpx.get(f"{address}/v1/models") for _ in range(3)]
        assert [a.status_code for a in answers] == [200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert first_word(address)[1] == 4429
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_a_full_queue_is_a_503_and_live_streams_go_on():
    files = FakeFiles()
    files.go_on.clear()
    with serving(parts(ServerConfig(port=0, max_waiting=1), files=files)) as address:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(upload(address).status_code))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while "echoic_files_in_work 2.0" not in httpx.get(f"{address}/metrics").text:
            pass
        full = upload(address)
        assert full.status_code == 503
        assert int(full.headers["retry-after"]) >= 1
        with connect(address.replace("http", "ws") + "/v1/stream") as link:
            link.send('{"type": "start"}')
            link.send(bytes(32_000))
            link.send('{"type": "eof"}')
            assert [json.loads(text)["type"] for text in link][-1] == "done"
        files.go_on.set()
        for thread in threads:
            thread.join()
        assert answers == [200, 200]


def test_sockets_have_a_number():
    with serving(parts(ServerConfig(port=0, max_sockets=1))) as address:
        url = address.replace("http", "ws") + "/v1/stream"
        with connect(url):
            message, code = first_word(address)
            assert (message["type"], code) == ("busy", 1013)


def test_metrics_tell_what_was_heard(address: str):
    with connect(address.replace("http", "ws") + "/v1/stream") as link:
        link.send(bursts(4).tobytes())
        link.send('{"type": "eof"}')
        events = [json.loads(text) for text in link]
    assert events[-1]["type"] == "done"
    text = httpx.get(f"{address}/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert float(values["echoic_heard_seconds_total"]) >= 2
    assert float(values["echoic_word_latency_seconds_count"]) >= 4
    assert float(values["echoic_rounds"]) >= 1
    assert 'echoic_requests_total{route="/v1/stream",status="1000"}' in values


def test_the_page_asks_nobody_else(address: str):
    page = httpx.get(f"{address}/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("client.js", "worklet.js", "style.css"):
        found = httpx.get(f"{address}/{name}")
        assert found.status_code == 200
        assert "http://" not in found.text
        assert "https://" not in found.text
    assert httpx.get(f"{address}/../app.py").status_code == 404


def test_plain_requests_to_sockets_and_nowhere_are_told(address: str):
    assert httpx.get(f"{address}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert httpx.put(f"{address}/v1/models").status_code == 405
    with pytest.raises(InvalidStatus):
        connect(address.replace("http", "ws") + "/v1/nothing").__enter__()


def test_a_client_that_does_not_read_or_send_keeps_nobody_waiting():
    with serving(parts(ServerConfig(port=0, idle_seconds=0.2, speech_workers=1))) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            text = json.dumps({"input": "a " * 2000, "response_format": "wav"}).encode()
            head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(text)}"
            deaf.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + text)
            deaf.recv(1)
            body = {"input": "one", "response_format": "wav"}
            assert httpx.post(f"{address}/v1/audio/speech", json=body).status_code == 200
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n{{".encode())
            assert b" 408 " in slow.recv(1000)

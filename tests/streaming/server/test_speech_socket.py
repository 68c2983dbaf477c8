"""Text in, sound out, over one socket."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def said(address: str, *messages: Any) -> tuple[list[dict[str, Any]], bytes, int]:
    """Return what was told, the sound, and the close code."""
    told, sound = [], b""
    with connect(address.replace("http", "ws") + "/v1/audio/speech/stream") as socket:
        for message in messages:
            socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        with contextlib.suppress(ConnectionClosed):
            while answer := socket.recv(timeout=10):
                if isinstance(answer, bytes):
                    sound += answer
                else:
                    told.append(json.loads(answer))
        return told, sound, socket.close_code or 0


def test_text_comes_in_pieces(address: str):
    told, sound, code = said(
        address,
        {"type": "start", "model": "tones", "voice": "low", "response_format": "pcm"},
        {"type": "text", "text": "one two "},
        {"type": "text", "text": "three"},
        {"type": "eof"},
    )
    assert [message["type"] for message in told] == ["session", "done"]
    assert told[0]["sample_rate"] == 24_000
    assert code == 1000
    wav = np.frombuffer(sound, "<i2")
    assert len(wav) == 24_000 * 3 // 10
    assert np.argmax(np.abs(np.fft.rfft(wav))) / 0.3 == pytest.approx(110, abs=5)


def test_sound_comes_before_the_text_has_ended(address: str):
    with connect(address.replace("http", "ws") + "/v1/audio/speech/stream") as socket:
        socket.send('{"type": "text", "text": "one"}')
        assert json.loads(socket.recv(timeout=10))["type"] == "session"
        assert isinstance(socket.recv(timeout=10), bytes)
        socket.send('{"type": "text", "text": "two"}')
        assert isinstance(socket.recv(timeout=10), bytes)
    told, sound, _ = said(address, {"type": "text", "text": "three"}, {"type": "eof"})
    assert told[-1]["type"] == "done", "a client that goes frees the worker"
    assert sound


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"type": "start", "voice": "nobody"}], 4400),
        ([{"type": "start", "model": "nobody"}], 4404),
        ([{"type": "start", "response_format": "aac"}], 4400),
        ([{"type": "start", "seed": -1}], 4400),
        ([{"type": "start", "speed": 2}], 4400),
        ([{"type": "eof"}], 4400),
        (["{"], 4400),
        ([b"sound"], 4400),
        ([{"type": "start"}, {"type": "text"}], 4400),
        ([{"type": "start"}, {"type": "text", "text": "a@b"}, {"type": "eof"}], 4400),
        ([{"type": "start"}, {"type": "eof"}], 4400),
    ],
)
def test_what_cannot_be_is_told(messages: list[Any], code: int, address: str):
    told, sound, closed = said(address, *messages)
    assert told[-1]["type"] == "error"
    assert closed == code
    assert not sound

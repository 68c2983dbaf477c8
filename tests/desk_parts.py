"""What tests of the demo's desks use: files of sound, and a page without a browser."""

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile as sf

from echoic.demo.desk import Desk

RATE = 16000


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    """A tone (T,) of half the full scale."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav_file(samples: np.ndarray, rate: int = RATE) -> bytes:
    """The bytes of a WAV file of samples (T,) or (T, C)."""
    file = io.BytesIO()
    sf.write(file, samples, rate, "PCM_16", format="WAV")
    return file.getvalue()


class DeskBrowser:
    """Does what assets/bring.js and assets/common.js do, as fast as it can."""

    def __init__(self, desk: Desk[Any], name: str = "page-one") -> None:
        self.desk, self.name = desk, name
        self.news: list[dict[str, Any]] = []

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        return self.desk.handle({"page": self.name, "do": do, **fields})

    def bring(self, data: bytes, name: str = "talk.wav", piece: int = 2**16) -> dict[str, Any]:
        """Send a file; return the last answer."""
        answer: dict[str, Any] = {"have": 0}
        while "problem" not in answer:
            at = answer["have"]
            text = base64.b64encode(data[at : at + piece]).decode()
            answer = self.ask("bring", at=at, name=name, size=len(data), data=text)
            if answer.get("have") == len(data):
                break
        return answer

    def work(self, do: str, **fields: Any) -> dict[str, Any]:
        """Start a job, and return the answer when it is over; those before it are `news`."""
        answer = self.ask(do, **fields)
        self.news = []
        deadline = time.monotonic() + 60
        while answer.get("phase", "idle") != "idle":
            self.news.append(answer)
            assert time.monotonic() < deadline, answer
            answer = self.ask("look", version=answer["version"], wait=400)
        return answer

    def result(self, do: str, **fields: Any) -> dict[str, Any]:
        """What a job gave that went well."""
        answer = self.work(do, **fields)
        assert answer["problem"] is None, answer
        return answer["result"]

    def track(self, name: str) -> np.ndarray:
        """The samples of a track, whole, fetched in pieces."""
        data, total = b"", 1
        while len(data) < total:
            answer = self.ask("look", track=name, at=len(data), result=False)
            data += base64.b64decode(answer["pcm"])
            total = answer["bytes"]
            assert "result" not in answer
        return np.frombuffer(data, "<i2")


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)

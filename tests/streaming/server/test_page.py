"""The page that the server shows, in Chromium, with a microphone that plays bursts."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browsing import CHROMIUM, chromium
from served import bursts, parts, serving

from echoic.streaming.server.config import ServerConfig

pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH"),
]


def wait_until(page: Any, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, page.inner_text("body")
        page.wait_for_timeout(30)


def wait_for_status(page: Any, words: str) -> None:
    wait_until(page, lambda: words in page.inner_text("#status"))


def words(page: Any) -> list[str]:
    return page.inner_text("#text").split()


def test_the_page_shows_words_and_goes_on_when_the_server_comes_back(tmp_path: Path):
    microphone = tmp_path / "microphone.wav"
    sound = np.concatenate(
        [np.zeros(48_000, np.int16), bursts(12, 48_000), np.zeros(48_000 * 60, np.int16)]
    )
    soundfile.write(microphone, sound, 48_000)
    state = tmp_path / "state"
    config = ServerConfig(port=0, state_dir=state, checkpoint_seconds=0.1)
    with chromium(microphone) as browser:
        page = browser.new_context(permissions=["microphone"]).new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else 0)
        with serving(parts(config)) as address:
            page.goto(address)
            page.click("#toggle")
            wait_for_status(page, "Listening")
            wait_until(page, lambda: len(words(page)) >= 3)
            assert wrong == []
        wait_for_status(page, "lost")
        port = int(address.rsplit(":", 1)[1])
        with serving(parts(ServerConfig(port=port, state_dir=state))):
            wait_for_status(page, "Listening")
            wait_until(page, lambda: len(words(page)) >= 12)
            page.click("#toggle")
            wait_for_status(page, "off")
            assert page.inner_text("#toggle") == "Start"
            shown = words(page)
        page.close()
    assert len(shown) == 12, "each burst once, in spite of the restart"
    assert [line for line in wrong if "WebSocket" not in line] == []

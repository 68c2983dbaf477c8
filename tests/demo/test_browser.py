"""The demo in Chromium, with a microphone that plays a recording: the words appear on the page.

`ECHOIC_SCREENSHOT=demo/screenshot.png pytest tests/demo/test_browser.py` also takes the picture.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr
from demo_parts import Reciter

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import english
from echoic.asr.whisper.box import box_adapters
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.demo.hub import LiveHub

pytest.importorskip("gradio", reason="needs gradio: pip install 'echoic[demo]'")
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH"),
]

from echoic.demo.app import Server, build_app, launch  # noqa: E402
from echoic.demo.captions import captions_tab  # noqa: E402

DATA = Path(__file__).parents[1] / "data"
TEXTS = {
    row["id"][-4:]: row["text"]
    for row in map(json.loads, (DATA / "manifest.jsonl").read_text().splitlines())
}
FLAGS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def recording(path: Path, names: list[str]) -> float:
    """Write what the microphone plays, 48 kHz; return its seconds without the silence after it."""
    pieces = []
    for name in names:
        wav, rate = sf.read(DATA / f"sense-and-sensibility-{name}.opus", dtype="float32")
        pieces += [soxr.resample(wav, rate, 48000), np.zeros(48000, np.float32)]
    sound = np.concatenate(pieces)
    sf.write(path, np.concatenate([sound, np.zeros(48000 * 30, np.float32)]), 48000, "PCM_16")
    return len(sound) / 48000


@contextmanager
def shown(hub: LiveHub, chunk_ms: int) -> Iterator[str]:
    tabs = [captions_tab(hub, chunk_ms=chunk_ms)]
    blocks = build_app(tabs)
    address = launch(blocks, tabs, Server())
    yield address
    blocks.close()


class Visitor:
    """A browser window on the page, that notes what it must not do: complain, or leave this host.

    Attributes:
        page: playwright's.
        wrong: complaints on the console, and addresses of other hosts that were asked for.
    """

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        size = {"width": 1100, "height": 640}
        self.context = browser.new_context(
            permissions=["microphone"], **{"viewport": size, **context}
        )
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", lambda request: self._note_address(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("[data-ready=yes]", timeout=30_000)

    def _note_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _note_address(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.wrong.append(url)

    def wait_for(self, phase: str, seconds: float = 60) -> None:
        self.page.wait_for_selector(f'[data-phase="{phase}"]', timeout=1000 * seconds)

    def start(self) -> None:
        self.page.click("#captions-start")
        self.wait_for("running")

    def stop(self) -> None:
        self.page.click("#captions-start")
        self.wait_for("idle")

    def said(self) -> list[str]:
        return self.page.locator("#captions .ec-said").all_inner_texts()

    def number(self, name: str) -> float:
        return float(self.page.inner_text(f'[data-part="{name}"]').split()[0])


@contextmanager
def chromium(sound: Path) -> Iterator[Any]:
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={sound}%noloop"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the hosts that this process asks for, and keep it from reaching them."""
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def local_only(host: Any, *rest: Any, **settings: Any) -> Any:
        if host not in (None, "", "127.0.0.1", "localhost", "0.0.0.0", "::1", b"127.0.0.1"):
            asked.append(str(host))
            raise socket.gaierror(f"the test asked for {host}")
        return look_up(host, *rest, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
    return asked


def test_words_of_a_recording_appear_while_it_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = no_network(monkeypatch)
    has_adapter = any(a.streaming and a.base_model == "tiny.en" for a in box_adapters())
    policy, chunk_ms = ("causal", 320) if has_adapter else ("agreement", 1000)

    def load(milliseconds: int) -> Any:
        return load_recognizer("tiny.en", policy=policy, chunk_ms=milliseconds)  # type: ignore[arg-type]

    hub = LiveHub(load)
    hub.prepare(chunk_ms)
    seconds = recording(tmp_path / "microphone.wav", ["0870", "0880"])
    with shown(hub, chunk_ms) as address, chromium(tmp_path / "microphone.wav") as browser:
        visitor = Visitor(browser, address)
        visitor.start()
        seen_early = watch(visitor, seconds)
        visitor.stop()
        assert visitor.wrong == []
        lines = visitor.said()
        reference = f"{TEXTS['0870']} {TEXTS['0880']}"
        rate = word_error_rate([reference], [" ".join(lines)], english()).rate
        assert rate <= 0.2, lines
        assert len(lines) >= 2, "an end point begins a new line"
        assert seen_early, "no words were shown before the recording was over"
        assert visitor.page.locator("#captions .ec-open, #captions .ec-stable").count() == 0
        assert visitor.number("behind") == 0.0
        assert 0 < visitor.number("delay") < 20
        title = visitor.page.locator("#captions .ec-word").first.get_attribute("title")
        assert title is not None
        assert title.startswith("0.")
        check_downloads(visitor, lines)
    assert asked == []


def watch(visitor: Visitor, seconds: float) -> bool:
    """Wait until the recording has played; return whether words that may change were shown."""
    picture = os.environ.get("ECHOIC_SCREENSHOT")
    end, seen = time.monotonic() + seconds, False
    while time.monotonic() < end:
        grey = visitor.page.locator("#captions .ec-open").count()
        seen = seen or grey > 0
        if picture and len(visitor.said()) >= 2 and grey >= 2:
            visitor.page.screenshot(path=picture)
            picture = None
        visitor.page.wait_for_timeout(100)
    return seen


def check_downloads(visitor: Visitor, lines: list[str]) -> None:
    for kind in ("txt", "srt", "json"):
        with visitor.page.expect_download() as download:
            visitor.page.click(f"[data-save={kind}]")
        assert download.value.suggested_filename == f"captions.{kind}"
        text = Path(download.value.path()).read_text()
        if kind == "txt":
            assert text.splitlines() == lines
        elif kind == "srt":
            assert text.startswith("1\n00:00:00,")
        else:
            assert [row["text"] for row in json.loads(text)["lines"]] == lines


def test_users_stop_clear_and_leave(tmp_path: Path, make_hub: Callable[..., LiveHub]):
    """Nobody's model is real here: half a second of sound is a word."""
    hub = make_hub(lambda ms: Reciter(f"<b>{ms}</b> & more words to come"))
    recording(tmp_path / "microphone.wav", ["0880"])
    with shown(hub, 320) as address, chromium(tmp_path / "microphone.wav") as browser:
        first, second = Visitor(browser, address), Visitor(browser, address)
        phone = {"width": 390, "height": 780}
        third = Visitor(browser, address, viewport=phone, color_scheme="dark")
        second.page.select_option("#captions-chunk", "640")
        for visitor in (first, second):
            visitor.start()
        for visitor in (first, second):
            visitor.page.wait_for_selector(".ec-open >> nth=0")
            visitor.page.wait_for_timeout(500)
            visitor.stop()
        assert first.said()[0].startswith("<b>320</b> &")
        assert second.said()[0].startswith("<b>640</b> &")
        assert first.page.locator("#captions .ec-line b").count() == 0
        assert third.said() == []
        wide = third.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= phone["width"]
        first.page.click("#captions-clear")
        first.page.wait_for_selector('[data-part="hint"]:visible')
        assert first.said() == []
        assert len(second.said()) == 1
        second.start()
        assert hub.num_streams == 1
        for visitor in (first, second, third):
            assert visitor.wrong == []
        second.context.close()
        end = time.monotonic() + 20
        while hub.num_streams or hub.num_pages > 1:
            assert time.monotonic() < end, "the page was left, and its recording runs on"
            time.sleep(0.1)


def test_a_model_that_fails_is_told(tmp_path: Path, make_hub: Callable[..., LiveHub]):
    hub = make_hub(Reciter("hello", fails_after=16000))
    recording(tmp_path / "microphone.wav", ["0880"])
    with shown(hub, 320) as address, chromium(tmp_path / "microphone.wav") as browser:
        visitor = Visitor(browser, address)
        visitor.start()
        visitor.wait_for("idle")
        assert "out of words" in visitor.page.inner_text("#captions-problem")
        assert visitor.wrong == []

"""Chromium on the demo's page, with a microphone that plays a recording, and a watchful eye."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DATA = Path(__file__).parent / "data"
TEXTS = {
    row["id"][-4:]: row["text"]
    for row in map(json.loads, (DATA / "manifest.jsonl").read_text().splitlines())
}
_FLAGS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_HERE = (None, "", "127.0.0.1", "localhost", "0.0.0.0", "::1", b"127.0.0.1")


def spoken(name: str) -> Path:
    """The file of a recording by the end of its id."""
    return DATA / f"sense-and-sensibility-{name}.opus"


def recording(path: Path, names: list[str]) -> float:
    """Write what the microphone plays, 48 kHz; return its seconds without the silence after it."""
    pieces = []
    for name in names:
        wav, rate = sf.read(spoken(name), dtype="float32")
        pieces += [soxr.resample(wav, rate, 48000), np.zeros(48000, np.float32)]
    sound = np.concatenate(pieces)
    sf.write(path, np.concatenate([sound, np.zeros(48000 * 30, np.float32)]), 48000, "PCM_16")
    return len(sound) / 48000


@contextmanager
def chromium(microphone: Path) -> Iterator[Any]:
    """A browser whose microphone plays a file from its beginning."""
    from playwright.sync_api import sync_playwright

    flags = [*_FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Note the hosts that this process asks for, and keep it from reaching them."""
    asked: list[str] = []
    look_up: Callable[..., Any] = socket.getaddrinfo

    def local_only(host: Any, *rest: Any, **settings: Any) -> Any:
        if host not in _HERE:
            asked.append(str(host))
            raise socket.gaierror(f"the test asked for {host}")
        return look_up(host, *rest, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", local_only)
        yield asked


class Visitor:
    """A browser window on the page, that notes what it must not do: complain, or leave this host.

    Attributes:
        page: playwright's.
        wrong: complaints on the console, and addresses of other hosts that were asked for.
    """

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        size = {"width": 1100, "height": 700}
        self.context = browser.new_context(
            permissions=["microphone"], **{"viewport": size, **context}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(90_000)  # models are loaded on the way
        self.wrong: list[str] = []
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", lambda request: self._note_address(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#captions-tab [data-ready=yes]")

    def _note_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _note_address(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.wrong.append(url)

    # ---- a tab, by the name in its id: captions, files, codec, speech

    def open(self, tab: str, title: str) -> None:
        """Look at a tab."""
        self.page.get_by_role("tab", name=title, exact=True).click()
        self.page.wait_for_selector(f"#{tab}-tab [data-ready=yes]")

    def wait_for(self, tab: str, phase: str) -> None:
        self.page.wait_for_selector(f'#{tab}-tab [data-phase="{phase}"]', state="attached")

    def bring(self, tab: str, file: Path) -> None:
        """Choose a file, and wait until it is worked on."""
        self.page.set_input_files(f"#{tab}-file", file)
        self.wait_for(tab, "busy")
        self.wait_for(tab, "idle")

    def drop(self, tab: str, name: str, text: str) -> None:
        """Drop a file of text on a tab, and wait until it is worked on."""
        held = self.page.evaluate_handle(
            """([name, text]) => {
              const held = new DataTransfer();
              held.items.add(new File([text], name));
              return held;
            }""",
            [name, text],
        )
        self.page.dispatch_event(f"#{tab}-tab [data-part=root]", "drop", {"dataTransfer": held})
        self.wait_for(tab, "busy")
        self.wait_for(tab, "idle")

    def shown(self, tab: str, part: str) -> str:
        return self.page.inner_text(f'#{tab}-tab [data-part="{part}"]')

    def number(self, tab: str, part: str) -> float:
        return float(self.shown(tab, part).split()[0].replace(",", ""))

    def saved(self, tab: str, kind: str) -> tuple[str, bytes]:
        """Press a button to save; return the file's name, and what is in it."""
        with self.page.expect_download() as download:
            self.page.click(f"#{tab}-tab [data-save={kind}]")
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    def overflow(self) -> int:
        """Pixels that the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")

    def picture(self, name: str) -> None:
        """Take a picture for the README, if somebody asked for pictures."""
        folder = os.environ.get("ECHOIC_SCREENSHOTS")
        if folder is None:
            return
        from PIL import Image

        path = Path(folder) / f"{name}.png"
        self.page.mouse.move(0, 0)
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=path)
        with Image.open(path) as image:
            image.convert("RGB").quantize(256).save(path, optimize=True)

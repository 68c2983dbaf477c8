"""The demo in Chromium, with the models in the box and a microphone that plays a recording.

`ECHOIC_SCREENSHOTS=demo/screenshots pytest tests/demo/test_browser.py` also takes the pictures.
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
import torch
from browsing import CHROMIUM, TEXTS, Visitor, chromium, no_network, recording, spoken
from demo_parts import Reciter

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import english
from echoic.asr.whisper.box import box_adapters
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.codecs.container import EchoReader
from echoic.demo.hub import LiveHub

pytest.importorskip("gradio", reason="needs gradio: pip install 'echoic[demo]'")
pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH"),
]

from echoic.demo.app import Server, build_app, launch  # noqa: E402
from echoic.demo.captions import captions_tab  # noqa: E402
from echoic.demo.everything import Everything, everything  # noqa: E402
from echoic.demo.tabs import Tab  # noqa: E402

PHONE = {"width": 390, "height": 780}
NAMES = ["0870", "0880"]


@contextmanager
def served(tabs: Sequence[Tab]) -> Iterator[str]:
    blocks = build_app(tabs)
    address = launch(blocks, tabs, Server())
    yield address
    blocks.close()


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    return path, recording(path, NAMES)


@pytest.fixture(scope="module")
def browser(microphone: tuple[Path, float]) -> Iterator[Any]:
    with chromium(microphone[0]) as browser:
        yield browser


@pytest.fixture(scope="module")
def demo() -> Iterator[Everything]:
    """What `echoic demo` shows, with its models."""
    has_adapter = any(a.streaming and a.base_model == "tiny.en" for a in box_adapters())
    policy, chunk_ms = ("causal", 320) if has_adapter else ("agreement", 1000)

    def load(milliseconds: int) -> Any:
        return load_recognizer("tiny.en", policy=policy, chunk_ms=milliseconds)  # type: ignore[arg-type]

    shown = everything(LiveHub(load), chunk_ms, model="tiny.en", device="auto")
    with no_network() as asked:
        yield shown
        assert asked == []
    shown.close()


@pytest.fixture(scope="module")
def address(demo: Everything) -> Iterator[str]:
    with served(demo.tabs) as address:
        yield address


@pytest.fixture
def visitor(browser: Any, address: str) -> Iterator[Visitor]:
    """Looks at the whole page; whatever a test does, nothing complains and nothing is too wide."""
    visitor = Visitor(browser, address)
    yield visitor
    assert visitor.wrong == []
    visitor.page.set_viewport_size(PHONE)
    assert visitor.overflow() <= 0
    visitor.context.close()


def errors(reference: str, heard: str) -> float:
    return word_error_rate([reference], [heard], english()).rate


def lines_of(visitor: Visitor) -> list[str]:
    return visitor.page.locator("#captions .ec-said").all_inner_texts()


def toggle_captions(visitor: Visitor, phase: str) -> None:
    visitor.page.click("#captions-start")
    visitor.wait_for("captions", phase)


def test_words_of_a_recording_appear_while_it_plays(
    visitor: Visitor, microphone: tuple[Path, float]
):
    toggle_captions(visitor, "running")
    seen_early = watch(visitor, microphone[1])
    toggle_captions(visitor, "idle")
    lines = lines_of(visitor)
    reference = " ".join(TEXTS[name] for name in NAMES)
    assert errors(reference, " ".join(lines)) <= 0.2, lines
    assert len(lines) >= 2, "an end point begins a new line"
    assert seen_early, "no words were shown before the recording was over"
    assert visitor.page.locator("#captions .ec-open, #captions .ec-stable").count() == 0
    assert visitor.number("captions", "behind") == 0.0
    assert 0 < visitor.number("captions", "delay") < 20
    title = visitor.page.locator("#captions .ec-word").first.get_attribute("title")
    assert title is not None
    assert title.startswith("0.")
    name, text = visitor.saved("captions", "txt")
    assert name == "captions.txt"
    assert text.decode().splitlines() == lines
    assert visitor.saved("captions", "srt")[1].startswith(b"1\n00:00:00,")
    page = json.loads(visitor.saved("captions", "json")[1])
    assert [row["text"] for row in page["lines"]] == lines


def watch(visitor: Visitor, seconds: float) -> bool:
    """Wait until the recording has played; return whether words that may change were shown."""
    end, seen, is_taken = time.monotonic() + seconds, False, False
    while time.monotonic() < end:
        grey = visitor.page.locator("#captions .ec-open").count()
        seen = seen or grey > 0
        if not is_taken and len(lines_of(visitor)) >= 2 and grey >= 2:
            visitor.picture("captions")
            is_taken = True
        visitor.page.wait_for_timeout(100)
    return seen


def test_a_file_becomes_words_that_can_be_played(visitor: Visitor):
    visitor.open("files", "Transcribe")
    visitor.drop("files", "notes.wav", "no sound, but text")
    problem = visitor.shown("files", "problem")
    assert problem.startswith("notes.wav: ")
    assert "\n" not in problem

    visitor.bring("files", spoken("0870"))
    assert visitor.shown("files", "problem") == ""
    said = visitor.page.locator("#files-lines .ec-word").all_inner_texts()
    assert errors(TEXTS["0870"], " ".join(said)) <= 0.1, said
    labels = visitor.page.locator("#files-tab .ec-label")
    assert labels.all_inner_texts() == said
    starts = [float(title.split()[0]) for title in titles(visitor)]
    lefts = [box["x"] for box in (label.bounding_box() for label in labels.all())]
    scale = (lefts[-1] - lefts[0]) / (starts[-1] - starts[0])
    for left, start in zip(lefts, starts, strict=True):
        assert left - lefts[0] == pytest.approx(scale * (start - starts[0]), abs=2)

    labels.nth(5).click()
    visitor.page.wait_for_function("document.querySelector('#files-tab .ec-plays') !== null")
    shown = float(visitor.page.inner_text("#files-tab [data-track=time]").split()[0])
    assert starts[5] - 0.1 <= shown <= starts[5] + 2
    now = visitor.page.locator("#files-lines .ec-now")
    assert now.count() == 1
    visitor.page.click("#files-tab .ec-play")
    visitor.picture("transcribe")

    name, srt = visitor.saved("files", "srt")
    assert name == "sense-and-sensibility-0870.srt"
    assert srt.startswith(b"1\n00:00:0")
    page = json.loads(visitor.saved("files", "json")[1])
    words = [word["word"].strip() for row in page["segments"] for word in row["words"]]
    assert words == said
    assert visitor.saved("files", "vtt")[1].startswith(b"WEBVTT")
    assert b" ".join(visitor.saved("files", "txt")[1].split()) == " ".join(said).encode()
    visitor.open("captions", "Live captions")
    visitor.open("files", "Transcribe")
    assert visitor.page.locator("#files-lines .ec-word").all_inner_texts() == said


def titles(visitor: Visitor) -> list[str]:
    return visitor.page.eval_on_selector_all("#files-tab .ec-label", "all => all.map(e => e.title)")


def test_the_codec_lab_shows_what_fewer_layers_keep(visitor: Visitor):
    visitor.open("codec", "Codec lab")
    visitor.bring("codec", spoken("0880"))
    assert visitor.shown("codec", "bitrate") == "11.0 kbit/s"
    whole = {part: visitor.number("codec", part) for part in ("bytes", "mel", "sdr")}
    before = drawn(visitor)
    visitor.page.fill("#codec-layers", "4")
    visitor.page.wait_for_function(
        "document.querySelector('#codec-tab [data-part=bitrate]').textContent === '2.0 kbit/s'"
    )
    visitor.wait_for("codec", "idle")
    assert visitor.shown("codec", "layers-shown") == "4 of 22 · 2.0 kbit/s"
    assert visitor.number("codec", "bytes") < whole["bytes"] / 4
    assert visitor.number("codec", "mel") > whole["mel"]
    assert visitor.number("codec", "sdr") < whole["sdr"]
    after = drawn(visitor)
    assert after[0] == before[0], "the original stays"
    assert after[1] != before[1]
    assert after[2] != before[2]
    assert min(map(len, after)) > 5000, "pictures show something"

    first, second = visitor.page.locator("#codec-tab .ec-play").all()
    first.click()
    second.click()
    visitor.page.wait_for_function(
        "[...document.querySelectorAll('#codec-tab .ec-play')]"
        ".map((button) => button.classList.contains('ec-plays')).join() === 'false,true'"
    )
    visitor.picture("codec-lab")
    name, data = visitor.saved("codec", "echo")
    assert name == "sense-and-sensibility-0880-4-layers.echo"
    header = EchoReader(io.BytesIO(data)).header
    assert (header.num_codebooks, header.model) == (4, "echo-16k-tiny")
    wav, rate = sf.read(io.BytesIO(visitor.saved("codec", "wav")[1]))
    assert len(wav) / rate == pytest.approx(2.99, abs=0.01)


def drawn(visitor: Visitor) -> list[str]:
    """The two spectrograms and the codes, as they are drawn."""
    return visitor.page.eval_on_selector_all(
        "#codec-tab .ec-picture, #codec-tab .ec-books", "all => all.map((c) => c.toDataURL())"
    )


def test_a_recording_of_the_microphone_is_taken_like_a_file(visitor: Visitor):
    visitor.open("codec", "Codec lab")
    visitor.page.click("#codec-record")
    visitor.page.wait_for_function(
        "document.querySelector('#codec-tab [data-part=doing]').innerText.includes('0:01')"
    )
    visitor.page.click("#codec-record")
    visitor.wait_for("codec", "busy")
    visitor.wait_for("codec", "idle")
    assert visitor.shown("codec", "problem") == ""
    assert visitor.number("codec", "bitrate") == 11.0
    time_shown = visitor.page.locator("#codec-tab [data-track=time]").first.inner_text()
    assert 0.5 < float(time_shown.split()[2]) < 20


def test_text_is_heard_while_the_rest_is_generated(visitor: Visitor, demo: Everything):
    pytest.importorskip("hibari", reason="needs phonemes: pip install 'echoic[tts]'")
    text = "The sun was low, and the long shadows lay across the lawn."
    visitor.open("speech", "Speak")
    visitor.page.fill("#speech-text", " ")
    visitor.page.click("#speech-speak")
    visitor.page.wait_for_selector("#speech-problem:visible")
    visitor.wait_for("speech", "idle")
    assert "write something first" in visitor.shown("speech", "problem")

    visitor.page.fill("#speech-text", text)
    visitor.page.click("#speech-speak")
    visitor.page.wait_for_function(
        """() => document.querySelector("#speech-tab [data-part=first]").textContent !== "–"
          && document.querySelector("#speech-tab [data-part=doing-text]").textContent
            === "Speaking…" """
    )
    visitor.wait_for("speech", "idle")
    assert visitor.shown("speech", "problem") == ""
    assert visitor.number("speech", "rtf") > 0
    labels = visitor.page.locator("#speech-tab .ec-label")
    assert errors(text, " ".join(labels.all_inner_texts())) == 0
    labels.nth(6).click()
    visitor.page.wait_for_selector("#speech-tab .ec-label.ec-now")
    visitor.page.click("#speech-tab .ec-play")
    visitor.picture("speak")
    name, data = visitor.saved("speech", "wav")
    assert name == "speech.wav"
    wav, rate = sf.read(io.BytesIO(data), dtype="float32")
    assert len(wav) / rate == pytest.approx(visitor.number("speech", "length"), abs=0.06)
    heard = demo.files.hear(torch.from_numpy(wav), rate)
    assert errors(text, heard) <= 0.4, heard
    rows = json.loads(visitor.saved("speech", "json")[1])["sentences"]
    assert rows[-1]["end"] <= len(wav) / rate + 0.01


def test_users_stop_clear_and_leave(browser: Any, make_hub: Callable[..., LiveHub]):
    """Nobody's model is real here: half a second of sound is a word."""
    hub = make_hub(lambda ms: Reciter(f"<b>{ms}</b> & more words to come"))
    with served([captions_tab(hub, chunk_ms=320)]) as address:
        first, second = Visitor(browser, address), Visitor(browser, address)
        third = Visitor(browser, address, viewport=PHONE, color_scheme="dark")
        second.page.select_option("#captions-chunk", "640")
        for visitor in (first, second):
            toggle_captions(visitor, "running")
        for visitor in (first, second):
            visitor.page.wait_for_selector(".ec-open >> nth=0")
            visitor.page.wait_for_timeout(500)
            toggle_captions(visitor, "idle")
        assert lines_of(first)[0].startswith("<b>320</b> &")
        assert lines_of(second)[0].startswith("<b>640</b> &")
        assert first.page.locator("#captions .ec-line b").count() == 0
        assert lines_of(third) == []
        assert third.overflow() <= 0
        first.page.click("#captions-clear")
        first.page.wait_for_selector('[data-part="hint"]:visible')
        assert lines_of(first) == []
        assert len(lines_of(second)) == 1
        toggle_captions(second, "running")
        assert hub.num_streams == 1
        for visitor in (first, second, third):
            assert visitor.wrong == []
        second.context.close()
        end = time.monotonic() + 20
        while hub.num_streams or hub.num_pages > 1:
            assert time.monotonic() < end, "the page was left, and its recording runs on"
            time.sleep(0.1)
        for visitor in (first, third):
            visitor.context.close()


def test_a_model_that_fails_is_told(browser: Any, make_hub: Callable[..., LiveHub]):
    hub = make_hub(Reciter("hello", fails_after=16000))
    with served([captions_tab(hub, chunk_ms=320)]) as address:
        visitor = Visitor(browser, address)
        toggle_captions(visitor, "running")
        visitor.wait_for("captions", "idle")
        assert "out of words" in visitor.page.inner_text("#captions-problem")
        assert visitor.wrong == []
        visitor.context.close()

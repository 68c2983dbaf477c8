"""The tab with speech synthesis: text in, and sound that plays while the rest is generated."""

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from echoic.demo.desk import Desk
from echoic.demo.desk_page import DeskPage
from echoic.demo.fields import integer, text
from echoic.demo.leaving import when_left
from echoic.demo.once import Once
from echoic.demo.sounds import read_sound
from echoic.demo.tabs import Tab
from echoic.demo.theme import asset, html, script

if TYPE_CHECKING:  # the page stands before any of this is needed
    from echoic.tts.synthesizer import Sentence, Synthesizer
    from echoic.tts.voice import Voice

MAX_CHARACTERS = 1000
NO_PHONEMES = "Speech needs one package more: <code>pip install 'echoic[tts]'</code>, then reload."
_MAX_BYTES = 24 * 2**20
_VOICE_SECONDS = (1.0, 30.0)


@dataclass
class SpeechPage:
    """What is kept for a page: the voice of its own, if it made one."""

    voice: "Voice | None" = None


class SpeechDesk(Desk[SpeechPage]):
    """Speaks the texts of pages.

    Args:
        load: makes the synthesizer, at the first job.
        hear: returns what a recording (T,) of a rate says, where nobody says it.
    """

    def __init__(
        self, load: "Callable[[], Synthesizer]", hear: Callable[[Tensor, int], str]
    ) -> None:
        super().__init__(
            SpeechPage,
            {"prepare": self._prepare, "speak": self._speak, "voice": self._make_voice},
            {"forget": self._forget_voice},
            max_bytes=_MAX_BYTES,
        )
        self._synthesizer = Once(load)
        self._hear = hear

    def _prepare(self, page: DeskPage[SpeechPage], _: Mapping[str, Any]) -> dict[str, Any]:
        """Load, and let everything that the first call does once be done."""
        synthesizer = self._synthesizer()
        with _one_thread():
            for _chunk in synthesizer.stream("Well."):
                page.tell()
        return {"rate": synthesizer.sample_rate}

    def _speak(self, page: DeskPage[SpeechPage], request: Mapping[str, Any]) -> dict[str, Any]:
        said_text = text(request, "text", longest=MAX_CHARACTERS)
        seed = integer(request, "seed", 0)
        if not said_text.strip():
            raise ValueError("there is nothing to say: write something first")
        page.tell(doing="Loading the talker")
        synthesizer = self._synthesizer()
        rate = synthesizer.sample_rate
        said: list[Sentence] = []
        page.record("speech", np.empty(0), anew=True)
        page.tell(doing="Speaking", rate=rate)
        start = time.monotonic()
        first, samples = None, 0
        with _one_thread():
            for chunk in synthesizer.stream(
                said_text, voice=page.memory.voice, seed=seed, said=said
            ):
                samples += len(chunk.wav)
                took = time.monotonic() - start
                first = took if first is None else first
                page.record("speech", chunk.wav.numpy())
                page.tell(first=first, rtf=took * rate / samples, sentences=_rows(said))
        if not samples:
            raise ValueError("there is nothing to say: the text has no words")
        return {
            "rate": rate,
            "seconds": samples / rate,
            "first": first,
            "rtf": (time.monotonic() - start) * rate / samples,
            "sentences": _rows(said),
            "cut": [sentence.text for sentence in said if sentence.ending != "end"],
        }

    def _make_voice(self, page: DeskPage[SpeechPage], request: Mapping[str, Any]) -> dict[str, Any]:
        from echoic.tts.voice import make_voice

        words = text(request, "text", longest=MAX_CHARACTERS).strip()
        page.tell(doing="Loading the talker")
        talker = self._synthesizer().talker
        page.tell(doing="Reading the recording")
        rate, (shortest, longest) = talker.codec.sample_rate, _VOICE_SECONDS
        wav = read_sound(
            page, rate, shortest=shortest, longest=longest, instead="ten seconds are best"
        )
        if not words:
            page.tell(doing="Listening to what it says")
            words = self._hear(wav, rate)
        page.tell(doing="Making the voice")
        page.memory.voice = make_voice(talker, wav, words, name=page.file_name)
        name = page.file_name
        page.drop_file()
        return {"voice": name, "text": words, "seconds": len(wav) / rate}

    def _forget_voice(self, page: DeskPage[SpeechPage], _: Mapping[str, Any]) -> dict[str, Any]:
        page.memory.voice = None
        return {}


def load_synthesizer(device: str) -> "Synthesizer":
    """Load the talker in the box, for listeners who hear it while it speaks."""
    from echoic.tts.synthesizer import Synthesizer
    from echoic.tts.talker import Talker

    return Synthesizer(Talker.from_pretrained(device=device), clock=time.monotonic)


def speech_tab(desk: SpeechDesk) -> Tab:
    """Return the tab; without the package for phonemes it says what to install."""
    return Tab("Speak", lambda page: _build(page, desk), asset("speech.css"))


def _build(page: gr.Blocks, desk: SpeechDesk) -> None:
    if importlib.util.find_spec("hibari") is None:
        gr.HTML(
            f'<p class="ec-missing">{NO_PHONEMES}</p>',
            apply_default_css=False,
            elem_id="speech-tab",
        )
        return

    def speech(request: Any) -> dict[str, Any]:
        return desk.handle(request)

    gr.HTML(
        html_template=html("speech.html").replace("MAX_CHARACTERS", str(MAX_CHARACTERS)),
        js_on_load=script("microphone", "bring", "track", "speaker", "speech"),
        apply_default_css=False,
        server_functions=[speech],
        elem_id="speech-tab",
    )
    when_left(page, desk.leave)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A step of a small talker is too little to be shared: waking another thread takes longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rows(said: "list[Sentence]") -> list[dict[str, Any]]:
    return [
        {
            "start": sentence.start,
            "end": sentence.end,
            "words": [
                {"text": word.text, "gap": " ", "start": word.start, "end": word.end}
                for word in sentence.words
            ]
            or [{"text": sentence.text, "gap": "", "start": sentence.start, "end": sentence.end}],
        }
        for sentence in said
    ]

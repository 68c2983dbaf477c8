"""The tab with file transcription: a recording in, its words in time and in subtitles out."""

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from echoic.asr.batch.subtitles import Layout
from echoic.asr.batch.writers import render
from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Source
from echoic.asr.transcriber import Transcriber
from echoic.asr.transcript import Segment, Transcript
from echoic.audio.io import save
from echoic.demo.desk import Desk
from echoic.demo.desk_page import DeskPage
from echoic.demo.leaving import when_left
from echoic.demo.once import Once
from echoic.demo.sounds import read_sound
from echoic.demo.tabs import Tab
from echoic.demo.theme import asset, html, script

RATE = 16000
KINDS = ("txt", "srt", "vtt", "json")
MAX_MINUTES = 10
_MAX_BYTES = 64 * 2**20
_OPTIONS = TranscribeOptions(word_timestamps=True)
_LAYOUT = Layout(max_line_width=42, max_line_count=2)
# Windows decoded at once: few, so that progress is told and Stop is heard.
_BATCH_SIZE = 2


@dataclass
class FilePage:
    """What is kept for a page: the last transcript."""

    transcript: Transcript | None = None


class FileDesk(Desk[FilePage]):
    """Transcribes the files of pages.

    Args:
        load: makes the recogniser, at the first job.
    """

    def __init__(self, load: Callable[[], Transcriber]) -> None:
        super().__init__(
            FilePage,
            {"transcribe": self._transcribe},
            {"export": self._export},
            max_bytes=_MAX_BYTES,
        )
        self._transcriber = Once(load)
        self._hearing = threading.Lock()

    def hear(self, wav: Tensor, sample_rate: int) -> str:
        """Return what is said in a short recording (T,); other desks may call."""
        transcriber = self._transcriber()
        with self._hearing:
            return transcriber.transcribe(wav, sample_rate=sample_rate).text

    def _transcribe(self, page: DeskPage[FilePage], _: Mapping[str, Any]) -> dict[str, Any]:
        page.tell(doing="Reading the file")
        wav = read_sound(
            page,
            RATE,
            shortest=0.1,
            longest=60 * MAX_MINUTES,
            instead="`echoic transcribe FILE` takes any length",
        )
        page.record("sound", wav.numpy(), anew=True)
        page.drop_file()
        page.tell(doing="Loading the recogniser", rate=RATE)
        transcriber = self._transcriber()
        page.tell(doing="Listening", done=0.0)
        start = time.monotonic()
        with self._hearing:
            transcript = _listen(transcriber, wav, page)
        took = time.monotonic() - start
        page.memory.transcript = transcript
        return {
            "rate": RATE,
            "seconds": len(wav) / RATE,
            "took": took,
            "language": transcript.language,
            "lines": [_line(segment) for segment in transcript.segments],
        }

    def _export(self, page: DeskPage[FilePage], request: Mapping[str, Any]) -> dict[str, Any]:
        kind, transcript = request.get("kind"), page.memory.transcript
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
        if transcript is None:
            raise ValueError("nothing is transcribed yet: choose a file, or record one")
        return {"text": render(transcript, kind, _LAYOUT)}


def files_tab(desk: FileDesk) -> Tab:
    """Return the tab."""
    return Tab("Transcribe", lambda page: _build(page, desk), asset("files.css"))


def _build(page: gr.Blocks, desk: FileDesk) -> None:
    def files(request: Any) -> dict[str, Any]:
        return desk.handle(request)

    gr.HTML(
        html_template=html("files.html"),
        js_on_load=script("microphone", "bring", "track", "files"),
        apply_default_css=False,
        server_functions=[files],
        elem_id="files-tab",
    )
    when_left(page, desk.leave)


def _listen(transcriber: Transcriber, wav: Tensor, page: DeskPage[FilePage]) -> Transcript:
    seconds, done = len(wav) / RATE, 0.0

    def progress(news: float) -> None:
        nonlocal done
        done += news
        page.tell(done=min(1.0, done / seconds))

    with tempfile.TemporaryDirectory(prefix="echoic-demo-") as folder:
        path = Path(folder) / "sound.wav"
        save(path, torch.clamp(wav, -1, 1), RATE)
        source = Source(key="sound", path=str(path), name="the recording")
        (outcome,) = transcriber.transcribe_many(
            [source], _OPTIONS, batch_size=_BATCH_SIZE, on_progress=progress
        )
    if outcome.error is not None:
        raise outcome.error
    assert outcome.transcript is not None
    return outcome.transcript


def _line(segment: Segment) -> dict[str, Any]:
    """Return a segment with its words; without word times it is one word."""
    words = [
        {
            "text": word.word.strip(),
            "gap": " " if word.word[:1].isspace() else "",
            "start": word.start,
            "end": word.end,
            "sure": min(1.0, max(0.0, word.probability)),
        }
        for word in segment.words or ()
        if word.word.strip()
    ]
    whole = {"text": segment.text.strip(), "gap": "", "start": segment.start, "end": segment.end}
    return {"start": segment.start, "end": segment.end, "words": words or [whole]}

"""A workbench for whole requests: an empty folder, a fake recogniser, and what was printed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_transcriber import FakeOptions, FakeTranscriber, NotSoundError

from echoic.asr.batch.engine import BatchTranscriber
from echoic.asr.batch.job import Model, Request, run_job


@dataclass
class Bench:
    """Runs requests in an empty folder and keeps what was printed and who was asked."""

    capture: pytest.CaptureFixture[str]
    transcriber: FakeTranscriber = field(default_factory=FakeTranscriber)
    loads: int = 0
    out: str = ""
    err: str = ""

    def run(
        self,
        *inputs: str,
        options: FakeOptions | None = None,
        load: Callable[[], BatchTranscriber[Any]] | None = None,
        **settings: Any,
    ) -> int:
        model = Model(
            load or self._load,
            options or FakeOptions(),
            {"model": "fake"},
            frozenset({".wav", ".mp3"}),
            lambda source: None,
            (NotSoundError,),
        )
        code = run_job(Request(tuple(inputs), **settings), model)
        self.out, self.err = self.capture.readouterr()
        return code

    def _load(self) -> FakeTranscriber:
        self.loads += 1
        self.transcriber.heard.clear()
        return self.transcriber


def make(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tree(folder: str = "out") -> list[str]:
    paths = (p for p in Path(folder).rglob("*") if p.is_file())
    return sorted(str(p.relative_to(folder)) for p in paths if p.suffix != ".jsonl")

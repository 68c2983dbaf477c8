"""One system in a process of its own: loads, then transcribes files on command over a pipe.

Run as `python worker.py SPEC`, where SPEC is a JSON object with `system`, `threads`, `fallback`
and what the system's class takes. Requests and answers are lines of JSON; whatever the libraries
print goes to standard error.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class System(Protocol):
    """Something that transcribes; `about` names what was chosen while loading."""

    about: str

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the text of each file."""
        ...


class Echoic:
    """All files side by side, as a batch is transcribed."""

    def __init__(self, model: str, dtype: str, batch_size: int, threads: int, fallback: bool):
        from echoic.asr.options import TranscribeOptions
        from echoic.asr.transcriber import Transcriber

        self._transcriber = Transcriber.from_pretrained(
            model, device="cpu", dtype=dtype, threads=threads
        )
        temperatures = TEMPERATURES if fallback else (0.0,)
        self._options = TranscribeOptions(language="en", temperatures=temperatures)
        self._batch_size = batch_size
        self.about = f"{self._transcriber.model.arithmetic}, batch {batch_size}"

    def transcribe(self, files: Sequence[str]) -> list[str]:
        from echoic.asr.source import Source

        sources = [Source(key=f"{i}", path=path, name=path) for i, path in enumerate(files)]
        texts: dict[str, str] = {}
        for outcome in self._transcriber.transcribe_many(
            sources, self._options, batch_size=self._batch_size
        ):
            if outcome.transcript is None:
                raise RuntimeError(f"{outcome.source.name} failed") from outcome.error
            texts[outcome.source.key] = outcome.transcript.text
        return [texts[source.key] for source in sources]


class OpenAI:
    """openai-whisper, file by file."""

    def __init__(self, model: str, threads: int, fallback: bool):
        import torch
        import whisper  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
        self._model = whisper.load_model(model, device="cpu")
        self._temperature = TEMPERATURES if fallback else 0.0
        self.about = "float32"

    def transcribe(self, files: Sequence[str]) -> list[str]:
        return [self._one(path) for path in files]

    def _one(self, path: str) -> str:
        result = self._model.transcribe(
            path,
            language="en",
            temperature=self._temperature,
            beam_size=None,
            best_of=5 if self._temperature else None,
            condition_on_previous_text=False,
            fp16=False,
        )
        return str(result["text"])


class FasterWhisper:
    """faster-whisper, file by file; with a batch size, its batched pipeline."""

    def __init__(
        self, model: str, compute_type: str, threads: int, fallback: bool, batch_size: int = 0
    ):
        from faster_whisper import (  # pyright: ignore[reportMissingImports]
            BatchedInferencePipeline,
            WhisperModel,
        )

        loaded = WhisperModel(
            model, device="cpu", compute_type=compute_type, cpu_threads=threads, num_workers=1
        )
        self._arguments: dict[str, Any] = {"temperature": TEMPERATURES if fallback else 0.0}
        self._model = BatchedInferencePipeline(loaded) if batch_size else loaded
        if batch_size:
            self._arguments["batch_size"] = batch_size
        self.about = loaded.model.compute_type + (f", batch {batch_size}" if batch_size else "")

    def transcribe(self, files: Sequence[str]) -> list[str]:
        return [self._one(path) for path in files]

    def _one(self, path: str) -> str:
        segments, _ = self._model.transcribe(
            path,
            language="en",
            beam_size=1,
            best_of=5,
            condition_on_previous_text=False,
            **self._arguments,
        )
        return "".join(segment.text for segment in segments)  # decodes only now


SYSTEMS: dict[str, type[Echoic] | type[OpenAI] | type[FasterWhisper]] = {
    "echoic": Echoic,
    "openai-whisper": OpenAI,
    "faster-whisper": FasterWhisper,
}


def cpu_seconds() -> float:
    """Return the processor time of this process and of children that ended (ffmpeg)."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_bytes() -> int:
    """Return the largest resident size this process ever had.

    `ru_maxrss` will not do on Linux: it survives exec, and so begins at the parent's size.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run(system: System, files: Sequence[str]) -> dict[str, Any]:
    """Transcribe and return texts, times and peak memory."""
    cpu, start = cpu_seconds(), time.perf_counter()
    texts = system.transcribe(files)
    wall = time.perf_counter() - start
    return {
        "texts": texts,
        "wall": wall,
        "cpu": cpu_seconds() - cpu,
        "peak": peak_bytes(),
    }


def main() -> None:
    """Serve until standard input closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not land between the answers
    spec = json.loads(sys.argv[1])
    start = time.perf_counter()
    system = SYSTEMS[spec.pop("system")](**spec)
    ready = {"load": time.perf_counter() - start, "about": system.about, "peak": peak_bytes()}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(system, json.loads(line)["files"])), file=answers, flush=True)


if __name__ == "__main__":
    main()

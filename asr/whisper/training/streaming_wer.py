"""Word errors of the live model while it trains: heard freely, not told the text before.

The loss knows the right text so far; a stream does not. So every now and then the adapters are
merged into a copy of the base, and some recordings are streamed at several block sizes, beside what
the offline base makes of them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from echoic.asr.metrics import word_error_rate
from echoic.asr.options import TranscribeOptions
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.asr.whisper.adapter import Adapter, AdapterConfig, merge
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.training.lora import lora_state
from echoic.asr.whisper.training.task import CausalWhisperTask
from echoic.audio.io import load

# Live sound goes on behind the last word for some time before anybody says that it has ended.
LEAD_SECONDS, TAIL_SECONDS = 0.3, 0.5


class StreamingWer(lightning.Callback):
    """Logs `val/wer_<ms>` and, once, `val/wer_offline`.

    Args:
        manifest: JSON lines with `audio`, relative to the file, and `text`.
        chunk_ms: block sizes.
        every_n_steps: how often.
        limit: recordings at most.
        language: of the recordings.
    """

    def __init__(
        self,
        manifest: str,
        chunk_ms: Sequence[float] = (320, 1000),
        every_n_steps: int = 200,
        limit: int = 40,
        language: str = "en",
    ) -> None:
        self.chunk_ms = tuple(chunk_ms)
        self.every_n_steps = every_n_steps
        self.language = language
        self._rows = _read(Path(manifest), limit)
        self._offline: float | None = None
        self._last = -1

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure after every so many steps."""
        step = trainer.global_step
        if step == self._last or step % self.every_n_steps or not trainer.is_global_zero:
            return
        self._last = step
        if self._offline is None:
            self._offline = self.offline(pl_module.base)
        found = {f"val/wer_{ms:g}": self.streamed(pl_module, ms) for ms in self.chunk_ms}
        for logger in trainer.loggers:
            logger.log_metrics({**found, "val/wer_offline": self._offline}, step=step)

    def streamed(self, task: CausalWhisperTask, chunk_ms: float) -> float:
        """Return the word error rate of the task's model in blocks of `chunk_ms`."""
        model = merged(task)
        settings = task.streaming_settings() or {}
        config = CausalConfig(
            blocks=Blocks.of_milliseconds(chunk_ms),
            hold_seconds=settings.get("hold_seconds", CausalConfig().hold_seconds),
            initial_max=settings.get("initial_max", CausalConfig().initial_max),
            language=self.language,
        )
        recognizer = CausalWhisper(model, config)
        return self._rate([_stream(recognizer, wav) for wav, _ in self._rows])

    def offline(self, base: str) -> float:
        """Return the word error rate of the base, offline."""
        transcriber = Transcriber.from_pretrained(base, device="cpu", dtype="float32")
        options = TranscribeOptions(language=self.language)
        heard = [
            transcriber.transcribe(wav[0], options, sample_rate=SAMPLE_RATE).text
            for wav, _ in self._rows
        ]
        return self._rate(heard)

    def _rate(self, heard: Sequence[str]) -> float:
        texts = [text for _, text in self._rows]
        return word_error_rate(texts, heard, for_language(self.language)).rate


def merged(task: CausalWhisperTask) -> WhisperModel:
    """Return the model that a task is training, as it will be used."""
    model = WhisperModel.from_checkpoint(load_checkpoint(task.base))
    state = {name: value.detach().float().cpu() for name, value in lora_state(task.model).items()}
    config = AdapterConfig(
        r=task.lora.rank,
        lora_alpha=task.lora.alpha or task.lora.rank,
        target_modules=task.lora.pattern,
    )
    merge(model, Adapter(config, state))
    return model.to_inference(device=torch.device("cpu"), dtype="float32")


def _read(manifest: Path, limit: int) -> list[tuple[Tensor, str]]:
    found = []
    lines = manifest.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or len(found) >= limit:
            continue
        try:
            row = json.loads(line)
            audio, text = manifest.parent / row["audio"], str(row["text"])
        except (TypeError, KeyError, ValueError) as e:
            raise ValueError(
                f"{manifest}, line {number}: not a JSON object with audio and text ({e})"
            ) from e
        found.append((load(audio, sample_rate=SAMPLE_RATE, mono=True)[0], text))
    return found


def _stream(recognizer: CausalWhisper, wav: Tensor) -> str:
    lead = torch.zeros(1, round(LEAD_SECONDS * SAMPLE_RATE))
    tail = torch.zeros(1, round(TAIL_SECONDS * SAMPLE_RATE))
    state, events = recognizer.step(recognizer.initial_state(), torch.cat([lead, wav, tail], 1))
    _, last = recognizer.finish(state)
    return " ".join(event.text for event in [*events, *last] if event.type == "final")

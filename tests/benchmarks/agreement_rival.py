"""LocalAgreement-2 over faster-whisper: what streaming an un-tuned Whisper costs.

The policy of Machacek et al. 2023 ("Turning Whisper into Real-Time Transcription System"), after
the paper: every second the whole buffer is transcribed anew with beam 5 and word times; words on
which two successive hypotheses agree are committed; the buffer is cut at a committed word once it
is longer than 15 s, and the text before it becomes the prompt.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echoic.audio.silero import SAMPLE_RATE

TRIM_SECONDS = 15.0
PROMPT_CHARACTERS = 200


@dataclass
class AgreementRival:
    """One stream.

    Attributes:
        model: a `faster_whisper.WhisperModel`.
        committed: words that were said for good, with the audio time at which they were.
    """

    model: Any
    committed: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._buffer = np.zeros(0, dtype=np.float32)
        self._start = 0.0
        self._end = 0.0  # of the last committed word
        self._last: list[tuple[float, float, str]] = []

    @property
    def text(self) -> str:
        """All committed words."""
        return "".join(word for word, _ in self.committed).strip()

    def feed(self, wav: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """Hear a chunk and commit what two hypotheses agree on."""
        self._buffer = np.concatenate([self._buffer, wav])
        words = self._transcribe()
        agreed = 0
        for old, new in zip(self._last, words, strict=False):
            if _plain(old[2]) != _plain(new[2]):
                break
            agreed += 1
        self._commit(words[:agreed])
        self._last = words[agreed:]
        self._trim()

    def finish(self) -> None:
        """Commit the last hypothesis as it is."""
        self._commit(self._last)
        self._last = []

    def _transcribe(self) -> list[tuple[float, float, str]]:
        prompt = "".join(w for w, _ in self.committed)[-PROMPT_CHARACTERS:]
        segments, _ = self.model.transcribe(
            self._buffer,
            language="en",
            beam_size=5,
            word_timestamps=True,
            condition_on_previous_text=True,
            initial_prompt=prompt,
        )
        words = [w for segment in segments for w in segment.words or []]
        timed = [(w.start + self._start, w.end + self._start, w.word) for w in words]
        return [w for w in timed if w[0] > self._end - 0.1]

    def _commit(self, words: list[tuple[float, float, str]]) -> None:
        now = self._start + len(self._buffer) / SAMPLE_RATE
        for _, end, word in words:
            self.committed.append((word, now))
            self._end = end

    def _trim(self) -> None:
        if len(self._buffer) < TRIM_SECONDS * SAMPLE_RATE or self._end <= self._start:
            return
        cut = round((self._end - self._start) * SAMPLE_RATE)
        self._buffer = self._buffer[cut:]
        self._start += cut / SAMPLE_RATE


def _plain(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())

"""How to transcribe: one frozen object for Python, the command line and the journal."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

Task = Literal["transcribe", "translate"]

# Hypotheses of one window side by side; more would only fill the memory.
MAX_GROUP = 32


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """Everything that changes the text; defaults are what a plain `echoic transcribe` does.

    Attributes:
        language: code or name of the spoken language; None lets a multilingual model find out.
        task: "transcribe", or "translate" into English.
        timestamps: let the model mark times, which splits windows into sentences.
        word_timestamps: give each word a start, an end and a probability.
        prompt: text that sets style and spelling, as if it had been said before.
        hotwords: words to expect, with commas between. Whisper has them in front of the prompt; a
            Paraformer prefers them where it is in doubt, and "word=2.5" sets by how much.
        beam_size: hypotheses kept at temperature 0; 1 is greedy search.
        patience: how many finished hypotheses end a beam search, as a multiple of its size.
        length_penalty: exponent of the length that divides a hypothesis' score; None divides by
            the length itself.
        best_of: samples drawn above temperature 0.
        temperatures: tried in turn until a decoding passes the two thresholds that follow.
        compression_ratio_threshold: above it the text repeats itself; None never minds.
        log_prob_threshold: below it (mean over tokens) the model was guessing; None never minds.
        no_speech_threshold: above it, together with a low log probability, the window is silence.
        vad: cut at pauses found by voice activity detection, and leave silence out.
        max_window_seconds: longest stretch decoded at once.
        seed: of the samples.
    """

    language: str | None = None
    task: Task = "transcribe"
    timestamps: bool = True
    word_timestamps: bool = False
    prompt: str | None = None
    hotwords: str | None = None
    beam_size: int = 1
    patience: float = 1.0
    length_penalty: float | None = None
    best_of: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float | None = 2.4
    log_prob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    vad: bool = True
    max_window_seconds: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ValueError(f"task is {self.task!r}; it must be transcribe or translate")
        for name in ("beam_size", "best_of"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
            if getattr(self, name) > MAX_GROUP:
                raise ValueError(f"{name} is {getattr(self, name)}; the limit is {MAX_GROUP}")
        if not self.temperatures or any(not 0 <= t <= 2 for t in self.temperatures):
            raise ValueError(
                f"temperatures are {self.temperatures}; give at least one, each from 0 to 2"
            )
        if self.patience <= 0:
            raise ValueError(f"patience is {self.patience}; it must be above 0")
        if not 1 <= self.max_window_seconds <= 30:
            raise ValueError(
                f"max_window_seconds is {self.max_window_seconds}; it must be from 1 to 30"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return dataclasses.asdict(self)

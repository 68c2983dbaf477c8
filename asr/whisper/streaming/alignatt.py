"""AlignAtt: text is written only as far as the attention of its tokens stays clear of the end.

Papi et al. 2023 ("AlignAtt: Using Attention-based Audio-Translation Alignments as a Guide for
Simultaneous Speech Translation"), on Whisper's alignment heads.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from echoic.asr.whisper.alignment import median_filter
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.buffer import BufferState
from echoic.asr.whisper.streaming.continuation import Heard, Reading, Step
from echoic.asr.whisper.streaming.policy import BufferPolicy, Decision, PolicyConfig
from echoic.asr.whisper.word_times import TimedWord


@dataclass(frozen=True, slots=True)
class AlignAttConfig(PolicyConfig):
    """How `AlignAtt` listens; see also `PolicyConfig`.

    Attributes:
        frame_threshold: a token whose most attended frame (20 ms) lies within so many of the end
            of the sound is not written yet.
        rewind_threshold: attention that jumps back by more frames than this has lost its place:
            nothing of that decoding is used.
        hold_seconds: sound that must follow the last word when the model ends the text behind it.
    """

    frame_threshold: int = 25
    rewind_threshold: int = 200
    hold_seconds: float = 0.6

    def __post_init__(self) -> None:
        PolicyConfig.__post_init__(self)
        if self.frame_threshold < 0 or self.rewind_threshold < 1:
            raise ValueError(
                f"frame_threshold is {self.frame_threshold} and rewind_threshold "
                f"{self.rewind_threshold}; give frames of 20 ms, at least 0 and 1"
            )
        if self.hold_seconds < 0:
            raise ValueError(f"hold_seconds is {self.hold_seconds}; give 0 or more")


class AlignAtt(BufferPolicy):
    """Streams any Whisper: commits what attention has left behind.

    The last word written is withheld, as an unstable one, until the model goes on to another.
    """

    def __init__(self, model: WhisperModel, config: AlignAttConfig | None = None) -> None:
        """Stream with `model`.

        Raises:
            ValueError: a language the model does not know, or a buffer longer than its window.
        """
        self.config = config or AlignAttConfig()
        super().__init__(model, self.config)

    def _decide(self, state: BufferState, heard: Heard, *, last: bool) -> Decision:
        reading = self._read(state, heard)
        steps = self._steps(reading, heard, last=last)
        words = self._words(state, heard, reading, steps)
        commit = len(words) if last else len(words) - self._withheld(words, steps, heard)
        return Decision(words, max(0, commit), [0] * len(words))

    def _steps(self, reading: Reading, heard: Heard, *, last: bool) -> list[Step]:
        """Decode up to the token that must wait, which is the last step."""
        limit = heard.num_frames - self.config.frame_threshold
        attended = Attended(reading.rows[:, :, : heard.num_frames])
        steps: list[Step] = []
        latest = 0
        for step in reading.steps:
            steps.append(step)
            frame = attended.frame(step.attention)
            if step.token == self.model.generation.eos_token_id or (frame >= limit and not last):
                break
            if latest - frame > self.config.rewind_threshold:
                return steps[:1]
            latest = frame
        return steps

    def _withheld(self, words: list[TimedWord], steps: list[Step], heard: Heard) -> bool:
        """Tell whether the last word may be a part of one, or lack its mark."""
        if not words:
            return False
        following = steps[-1].token
        if following == self.model.generation.eos_token_id:
            return heard.seconds - words[-1].end < self.config.hold_seconds
        return not self.model.tokenizer.token_bytes(following).startswith(b" ")


@dataclass(slots=True)
class Attended:
    """Finds the frame that a token looks at, as its row comes in.

    Every head's weights are standardised over the tokens so far, median-filtered over time, and
    averaged over the heads.
    """

    rows: Tensor
    count: int = field(init=False)
    sums: Tensor = field(init=False)
    squares: Tensor = field(init=False)

    def __post_init__(self) -> None:
        rows = _shares(self.rows)
        self.count = rows.shape[1]
        self.sums, self.squares = rows.sum(1), rows.square().sum(1)

    def frame(self, row: Tensor) -> int:
        """Take in the next row (heads, T); return its brightest frame."""
        row = _shares(row[:, : self.rows.shape[-1]])
        self.count += 1
        self.sums = self.sums + row
        self.squares = self.squares + row.square()
        mean = self.sums / self.count
        std = (self.squares / self.count - mean.square()).clamp(min=1e-20).sqrt()
        picture = median_filter((row - mean) / std, 7).mean(0)
        return int(torch.argmax(picture))


def _shares(weights: Tensor) -> Tensor:
    """Return weights as shares of the frames that are left."""
    weights = weights.double()
    return weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-30)

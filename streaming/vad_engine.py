"""The voice activity detector for many streams at once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.audio.silero import FRAME_SIZE, SileroVad, VadState

# Rows that are always computed together, filled up with silence: sums of floats depend on how many
# there are, and with them decisions at the threshold. Four cost little more than one.
_GROUP = 4


class Frame(NamedTuple):
    """A question: how likely is it that these 512 samples (1, 512) are speech?"""

    state: VadState
    wav: Tensor


class Judged(NamedTuple):
    """The answer: the state behind the frame, and the probability of speech."""

    state: VadState
    probability: float


class VadEngine:
    """Judges a frame of each of many streams; none changes what another is told, to the last bit.

    Attributes:
        vad: the network.
        stage: see `echoic.streaming.work.Engine`.
    """

    stage = 0

    def __init__(self, vad: SileroVad) -> None:
        self.vad = vad
        self._silence = Frame(vad.initial_state(1), torch.zeros(1, FRAME_SIZE))

    @torch.inference_mode()
    def answer(self, questions: Sequence[Frame]) -> list[Judged]:
        """Judge frames."""
        found: list[Judged] = []
        for start in range(0, len(questions), _GROUP):
            found += self._group(questions[start : start + _GROUP])
        return found

    def _group(self, frames: Sequence[Frame]) -> list[Judged]:
        full = [*frames, *[self._silence] * (_GROUP - len(frames))]
        wav = torch.cat([frame.wav for frame in full])
        # By hand: for so small a state, what serves all of them takes as long as the network.
        before = VadState(
            torch.cat([frame.state.context for frame in full]),
            wav[:, :0],  # frames are whole
            torch.cat([frame.state.hidden for frame in full]),
            torch.cat([frame.state.cell for frame in full]),
        )
        after, probabilities = self.vad.step(before, wav)
        # Clones: a row that is a view would keep the others alive.
        rows = zip(
            *(t.split(1) for t in (after.context, after.hidden, after.cell)),
            probabilities[:, 0].tolist(),
            frames,
            strict=False,
        )
        return [
            Judged(VadState(context.clone(), self._silence.state.pending, h.clone(), c.clone()), p)
            for context, h, c, p, _ in rows
        ]

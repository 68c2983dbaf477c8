"""Speech that is being generated: some texts together, step by step, until each has ended."""

from collections.abc import Sequence

import torch
from torch import Tensor

from echoic.streaming.work import Failure
from echoic.tts.lm.engine import TalkerEngine
from echoic.tts.lm.guard import Ending
from echoic.tts.lm.rows import Row
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.utterance import Request, Utterance


class Generation:
    """Speaks some texts together, each as it would be spoken alone.

    Caches, random numbers and counts belong to this generation alone: what one does changes nothing
    for another, nor for the next one.

    Args:
        model: in evaluation mode.
        requests: what to say.

    Raises:
        ValueError: see `Row`.
    """

    def __init__(self, model: SpeechLM, requests: Sequence[Request]) -> None:
        self._engine = TalkerEngine(model)
        self._rows = [Row(model, request) for request in requests]
        if not self._rows:
            raise ValueError("nothing to say: give one text at least")
        for row in self._rows:
            while len(row.ahead):
                self._engine.answer([row])

    @property
    def rows(self) -> list[Utterance]:
        """What is said so far."""
        return [row.utterance for row in self._rows]

    @property
    def done(self) -> bool:
        """Whether every row has ended."""
        return not any(row.speaks for row in self.rows)

    @property
    def waits(self) -> bool:
        """Whether a row cannot go on before more of its text has come."""
        return any(row.waits for row in self.rows)

    @property
    def endings(self) -> list[Ending | None]:
        """Why each row ended."""
        return [row.ending for row in self.rows]

    def feed(self, row: int, text: Tensor, *, whole: bool = False) -> None:
        """Give a row more of its text, (L,) ids.

        Raises:
            ValueError: its text was whole.
        """
        self._rows[row].feed(text, whole=whole)

    def step(self) -> list[Tensor]:
        """Take one step, and return the frames (n, Q) of each row that are whole now.

        A prompt's own frames are not among them.

        Raises:
            RuntimeError: a row waits for its text.
            ScoresNotFinite: the model's weights are damaged.
        """
        if self.waits:
            raise RuntimeError("a row waits for its text: feed it before the next step")
        speaking = [number for number, row in enumerate(self.rows) if row.speaks]
        answers = self._engine.answer([self._rows[number] for number in speaking])
        books = self._engine.model.config.frames.num_codebooks
        frames = [torch.empty(0, books, dtype=torch.int64) for _ in self._rows]
        for number, answer in zip(speaking, answers, strict=True):
            if isinstance(answer, Failure):
                raise answer.error
            frames[number] = answer
        return frames

"""What a model wrote by itself while it trained, and how wrong that was."""

from collections.abc import Sequence

import torch
from torch import Tensor

from echoic.asr.metrics import character_error_rate, word_error_rate


class Answers:
    """Collects what was said and what was heard."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.found: list[str] = []

    def add(self, said: Sequence[str], found: Sequence[str]) -> None:
        """Add some utterances."""
        self.said += said
        self.found += found

    def clear(self) -> None:
        """Forget them all."""
        self.said, self.found = [], []

    def sums(self) -> Tensor:
        """Return words, wrong words, characters and wrong characters, (4,) float64."""
        counts: list[int] = []
        for rate in (word_error_rate, character_error_rate):
            edits = rate(self.said, self.found).utterances
            counts += [sum(e.length for e in edits), sum(e.errors for e in edits)]
        return torch.tensor(counts, dtype=torch.float64)

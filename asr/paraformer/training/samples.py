"""Batches made by chance, of any size: what a step of training costs shows before any data do."""

import math
from dataclasses import dataclass

import torch

from echoic.asr.paraformer.tokenizer import END
from echoic.asr.paraformer.training.data import Batch

_LOUDNESS = 0.1


@dataclass(frozen=True, slots=True)
class RandomBatches:
    """Makes batches of noise with labels by chance, in which all utterances are as long.

    Attributes:
        sample_rate: Hz.
        vocab_size: tokens of the vocabulary.
        stretch: how many times as long a change of speed may make a sound, 1 or more.
    """

    sample_rate: int
    vocab_size: int
    stretch: float = 1.0

    def __call__(self, batch_size: int, seconds: float, tokens: int, number: int = 0) -> Batch:
        """Return a batch without any padding.

        Args:
            batch_size: utterances.
            seconds: that each lasts before its speed is changed.
            tokens: labels of each.
            number: of the batch.
        """
        generator = torch.Generator().manual_seed(number)
        samples = math.ceil(seconds * self.stretch * self.sample_rate)
        # One label after the other: CTC has no room for a label that comes twice running.
        first, labels = END + 1, self.vocab_size - END - 1
        offsets = torch.randint(labels, (batch_size, 1), generator=generator)
        return Batch(
            number=number,
            wav=_LOUDNESS * torch.randn(batch_size, samples, generator=generator),
            samples=torch.full((batch_size,), samples),
            labels=first + (offsets + torch.arange(tokens)) % labels,
            label_lengths=torch.full((batch_size,), tokens),
            texts=("",) * batch_size,
        )

"""Ways to make batches of the same utterances at equal memory, and a step of training on them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lengths import Lengths
from numpy.typing import NDArray
from paraformer_files import tokens_of
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.build import Statistics, write_statistics
from echoic.asr.paraformer.training.data import PADDING, Batch
from echoic.asr.paraformer.training.optimization import OptimizerConfig, clip, make_optimizer
from echoic.asr.paraformer.training.task import ParaformerTask
from echoic.audio.data.bucket_plan import BucketPlan
from echoic.audio.data.buckets import Buckets
from echoic.audio.data.padding import WINDOW_SECONDS, by_chance, padding_of
from echoic.audio.data.passes import Cut

RATE = 16_000
VOCAB = 544
BUCKETS = (30, 5)


class Way(NamedTuple):
    """A way to make batches.

    Attributes:
        name: in tables.
        cut: a pass in batches, in an order by chance.
        rows: utterances of the cut's numbers.
        window: seconds that each utterance is padded to; None for the longest of its batch.
    """

    name: str
    cut: Cut
    rows: NDArray[np.int64]
    window: float | None = None

    @property
    def utterances(self) -> float:
        """Of a step, on average over the pass."""
        return len(self.cut.rows) / len(self.cut)

    def batch(self, index: int) -> NDArray[np.int64]:
        """Return the utterances of a batch."""
        return self.rows[self.cut[index]]

    def padded(self, durations: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return seconds of each batch of the pass, padding included."""
        if self.window is not None:
            return np.asarray(self.window * self.cut.sizes, np.float64)
        batches = (self.batch(index) for index in range(len(self.cut)))
        return np.array([len(rows) * float(durations[rows].max()) for rows in batches])

    def padding(self, lengths: Lengths) -> tuple[float, float]:
        """Return the shares of padding of the sound and of the texts."""
        durations, tokens = (own[self.rows] for own in lengths)
        if self.window is None:
            return padding_of(self.cut, durations), padding_of(self.cut, tokens)
        return 1 - float(durations.mean()) / self.window, padding_of(self.cut, tokens)


def ways(lengths: Lengths, batch_seconds: float) -> list[Way]:
    """Return ours first; no batch of any way has more seconds, padding included."""
    durations, tokens = lengths
    buckets = Buckets.estimate(durations, tokens, *BUCKETS).sized(batch_seconds)
    kept = np.flatnonzero(buckets.assign_all(durations, tokens) >= 0)
    plan = BucketPlan([durations[kept]], [tokens[kept]], [1.0], buckets)
    every = np.arange(len(durations))
    size, windows = (int(batch_seconds / most) for most in (durations.max(), WINDOW_SECONDS))
    if not windows:
        raise ValueError(f"batches of {batch_seconds} s: not one window of {WINDOW_SECONDS} s fits")
    return [
        Way(f"echoic, {BUCKETS[0]} x {BUCKETS[1]} buckets", plan.cut(0), kept),
        Way(f"random, {size} padded to the batch", by_chance(len(every), size), every),
        Way(f"random, {windows} padded to 30 s", by_chance(len(every), windows), every, 30.0),
    ]


def make_batch(way: Way, index: int, lengths: Lengths) -> Batch:
    """Return a batch of noise, with labels by chance, as long as the utterances are."""
    durations, tokens = lengths
    rows = way.batch(index)
    generator = torch.Generator().manual_seed(index)
    if way.window is None:
        samples = torch.tensor(np.rint(durations[rows] * RATE), dtype=torch.int64)
    else:  # who pads to a window computes all of it
        samples = torch.full((len(rows),), round(way.window * RATE))
    wavs = [0.1 * torch.randn(int(count), generator=generator) for count in samples]
    labels = [_labels(int(count), generator) for count in tokens[rows]]
    return Batch(
        number=index,
        wav=pad_sequence(wavs, batch_first=True),
        samples=samples,
        labels=pad_sequence(labels, batch_first=True, padding_value=PADDING),
        label_lengths=torch.tensor([len(own) for own in labels]),
        texts=("",) * len(rows),
    )


def _labels(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(3, VOCAB - 1, (count,), generator=generator)


def write_vocabulary(folder: Path) -> Path:
    """Make a folder of a vocabulary and of statistics that change nothing."""
    folder.mkdir()
    Tokenizer(tokens_of(VOCAB)).save(folder)
    config = FrontendConfig()
    nothing = Statistics(torch.zeros(config.num_features), torch.ones(config.num_features))
    write_statistics(folder / "cmvn.json", nothing, config)
    return folder


def trainer(vocabulary: Path) -> Callable[[Batch], float]:
    """Return what makes a step of the tiny Paraformer and returns its loss."""
    torch.manual_seed(0)
    task = ParaformerTask({"preset": "tiny"}, str(vocabulary), str(vocabulary / "cmvn.json"))
    optimizer = make_optimizer(task.model.encoder, [task.model], OptimizerConfig())
    weights = list(task.model.parameters())
    assert task.average is not None
    average = task.average

    def step(batch: Batch) -> float:
        optimizer.zero_grad()
        loss = task.training_step(batch, 0)
        loss.backward()
        clip(weights, 5.0)
        optimizer.step()
        average.update(task.model)
        return loss.item()

    return step

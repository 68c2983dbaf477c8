"""Batches of whole utterances: sound, labels and texts."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.training.corpus import Corpus
from echoic.audio.augment import Augment
from echoic.audio.data.passes import Item
from echoic.audio.errors import AudioDecodeError

log = logging.getLogger(__name__)

# What no label is; the model looks at lengths.
PADDING = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """What a training step takes.

    Attributes:
        number: of the batch; everything random in its step is drawn from it.
        wav: (B, N) float32, 0 beyond each length.
        samples: int64 (B,) that count.
        labels: int64 (B, L), padded.
        label_lengths: int64 (B,).
        texts: the labels as text.
    """

    number: int
    wav: Tensor
    samples: Tensor
    labels: Tensor
    label_lengths: Tensor
    texts: tuple[str, ...]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Move to a device."""
        names = ("wav", "samples", "labels", "label_lengths")
        moved = {n: getattr(self, n).to(device, non_blocking=non_blocking) for n in names}
        return replace(self, **moved)


class BatchMaker:
    """Makes batch number n of a run, the same in every worker and after every restart.

    Args:
        corpora: where utterances come from.
        plan: the utterances of batch n.
        augment: what happens to each sound; None for nothing.
        seed: of what is drawn.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        plan: Callable[[int], Sequence[Item]],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.corpora = corpora
        self.plan = plan
        self.augment = augment
        self.seed = seed

    def __call__(self, number: int) -> Batch:
        """Make one batch.

        Raises:
            ValueError: not one of its recordings can be read.
        """
        wavs, labels, texts = [], [], []
        for item in self.plan(number):
            corpus = self.corpora[item.corpus]
            try:
                wav = corpus.wav(item.utterance)
            except AudioDecodeError as error:  # one bad file in many must not end a long run
                log.warning("left out of batch %d: %s", number, error)
                continue
            if self.augment is not None:
                seed = f"{self.seed}/{number}/{corpus.key(item.utterance)}"
                wav = self.augment(wav, corpus.sample_rate, seed).wav
            wavs.append(wav)
            labels.append(torch.tensor(corpus.labels[item.utterance]))
            texts.append(corpus.texts[item.utterance])
        if not wavs:
            raise ValueError(f"batch {number} has damaged recordings only: check the manifest")
        return Batch(
            number=number,
            wav=pad_sequence(wavs, batch_first=True),
            samples=torch.tensor([len(wav) for wav in wavs]),
            labels=pad_sequence(labels, batch_first=True, padding_value=PADDING),
            label_lengths=torch.tensor([len(ids) for ids in labels]),
            texts=tuple(texts),
        )

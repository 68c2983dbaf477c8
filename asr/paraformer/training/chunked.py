"""Batches that are heard as a stream would be: one model for streams and for whole recordings."""

from dataclasses import dataclass

import torch

from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.audio.augment import generator_for


@dataclass(frozen=True, slots=True)
class ChunkedBatches:
    """Which batches are cut into chunks, and how.

    Attributes:
        cuts: one of these is drawn for each batch, all equally likely.
        probability: share of the batches that are cut; the others are heard as a whole.
    """

    cuts: tuple[Chunks, ...]
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1 or not self.cuts:
            raise ValueError(
                f"probability {self.probability} of {len(self.cuts)} cuts: expected above 0 to 1, "
                "and 1 cut or more"
            )

    def draw(self, seed: str) -> Chunks | None:
        """Return a batch's cut, or None for one that is heard as a whole."""
        generator = generator_for(seed, "chunks")
        if float(torch.rand((), generator=generator)) >= self.probability:
            return None
        return self.cuts[int(torch.randint(len(self.cuts), (), generator=generator))]

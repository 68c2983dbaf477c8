"""The shapes of quantizers that are measured, and the random books and latents of each."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

SEED = 7


@dataclass(frozen=True, slots=True)
class Shape:
    """A residual quantizer, named for who made it known.

    Attributes:
        name: in tables.
        layers: Q.
        groups: G.
        size: K, codes of each book.
        width: channels of a code.
        counts: how many vectors a call takes.
        dim: channels of a latent; where that is not `groups * width`, each layer has a projection
            before its book and one behind it.
    """

    name: str
    layers: int
    groups: int
    size: int
    width: int
    counts: tuple[int, ...]
    dim: int

    def __str__(self) -> str:
        books = f"{self.groups}x{self.layers}" if self.groups > 1 else str(self.layers)
        before = f"{self.dim} -> " if self.projects else ""
        return f"{self.name}: {books} books of {self.size} codes, {before}{self.width} channels"

    @property
    def by_direction(self) -> bool:
        """Whether codes are chosen by direction alone, as DAC's are."""
        return self.projects and self.layers > 1

    @property
    def projects(self) -> bool:
        """Whether a projection stands before the books."""
        return self.dim != self.groups * self.width

    def books(self) -> Tensor:
        """Return random books (Q, G, K, width): each layer's as long as what is left for it."""
        shape = (self.layers, self.groups, self.size, self.width)
        scales = 0.8 ** torch.arange(self.layers)
        return torch.randn(shape, generator=_generator(1)) * scales[:, None, None, None]

    def latents(self, count: int) -> Tensor:
        """Return random vectors (count, dim)."""
        return torch.randn(count, self.dim, generator=_generator(2))

    def projections(self) -> list["Projections"]:
        """Return a random linear layer to the books and one from them for each layer."""
        torch.manual_seed(SEED + 3)
        return [
            Projections(nn.Linear(self.dim, self.width), nn.Linear(self.width, self.dim))
            for _ in range(self.layers)
        ]


class Projections(NamedTuple):
    """What stands around one layer's book."""

    project_in: nn.Linear
    project_out: nn.Linear


HIFI = Shape("HiFi-Codec", 2, 2, 1024, 256, (1, 1000, 7500), dim=512)
ENCODEC = Shape("EnCodec", 8, 1, 1024, 128, (1, 1000, 7500), dim=128)
DAC = Shape("DAC", 9, 1, 1024, 8, (1, 1000, 7500), dim=1024)
DAC_INSIDE = Shape("DAC, books alone", 9, 1, 1024, 8, (1, 1000, 7500), dim=8)
DISTIL = Shape("DistilCodec", 1, 1, 32_768, 3584, (1, 94), dim=1024)


def _generator(kind: int) -> torch.Generator:
    return torch.Generator().manual_seed(SEED + kind)

"""The search of residual layers with a projection to and from each book, without the projections.

Such a layer takes W e + b off the latent, and the next one projects what is left into its own few
channels. Projections are linear, so what a code takes off the channels of every later layer is a
row of a table: the latent is projected once for all layers, and never put back together.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.cuda_ext.ops import PackedCodebooks, nearest_code, pack_codebooks


class Layer(Protocol):
    """A residual layer: project_in, the code of the nearest direction, project_out."""

    @property
    def project_in(self) -> nn.Linear:
        """From the latent's channels to the book's."""
        ...

    @property
    def project_out(self) -> nn.Linear:
        """From the book's channels to the latent's."""
        ...

    @property
    def book(self) -> Tensor:
        """(K, d), of any lengths."""
        ...


class Prepared(NamedTuple):
    """What a search needs of all layers.

    Attributes:
        weight: (Q * d, D) all projections to books, one below the other.
        bias: (Q * d,).
        books: each layer's directions.
        tables: for each layer (K, channels of all later layers): what a code takes off them.
    """

    weight: Tensor
    bias: Tensor
    books: list[PackedCodebooks]
    tables: list[Tensor]


class FactorizedSearch:
    """Finds the codes of latents; prepares the tables once, and again after a layer has changed.

    Args:
        layers: in their order, with books of one shape; followed, not copied.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._made_for: Any = None
        self._prepared: Prepared | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be prepared again; a copied quantizer copies the rest with it."""
        return self.__dict__ | {"_made_for": None, "_prepared": None}

    @torch.no_grad()
    def codes(self, rows: Tensor, layers: int) -> Tensor:
        """Return the codes (N, layers) of latents (N, D) float32.

        They are those of the layers run one by one, but for what rounding decides.

        Raises:
            ValueError: latents that are not finite.
        """
        made = self._prepare()
        width = made.books[0].codebooks.shape[-1]
        used = layers * width
        seen = F.linear(rows, made.weight[:used], made.bias[:used])
        codes: list[Tensor] = []
        for layer in range(layers):
            codes.append(nearest_code(seen[:, :width], made.books[layer]))
            if layer + 1 < layers:
                seen = seen[:, width:]
                seen -= made.tables[layer][:, : seen.shape[1]].index_select(0, codes[-1])
        return torch.stack(codes, dim=1)

    def _prepare(self) -> Prepared:
        made_for = [(t.data_ptr(), t._version) for t in self._watched()]
        if self._prepared is None or made_for != self._made_for:
            self._prepared = _prepared(self._layers)
            self._made_for = made_for
        return self._prepared

    def _watched(self) -> Iterator[Tensor]:
        for layer in self._layers:
            yield layer.book
            for project in (layer.project_in, layer.project_out):
                yield project.weight
                yield project.bias


def _prepared(layers: Sequence[Layer]) -> Prepared:
    weight = torch.cat([layer.project_in.weight for layer in layers])
    bias = torch.cat([layer.project_in.bias for layer in layers])
    books, tables, first = [], [], 0
    for layer in layers:
        first += layer.book.shape[1]
        directions = F.normalize(layer.book.float())
        # All directions are equally long: only x·e counts.
        books.append(pack_codebooks(directions, directions.new_zeros(len(directions))))
        passed = F.linear(
            layer.book.double(),
            layer.project_out.weight.double(),
            layer.project_out.bias.double(),
        )
        tables.append((passed @ weight[first:].double().T).float())
    return Prepared(weight.float(), bias.float(), books, tables)

"""Whether two quantizers with the same books differ only where a code is as good as the other."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from benchmarks.vq_shapes import Shape
from torch import Tensor

# Of |x|² + |e|², times the channels that are added up: roundings of all terms in any order.
ROUNDINGS = 4 * 2.0**-24


class Agreement(NamedTuple):
    """How far two systems' codes agree.

    Attributes:
        same: share of vectors all of whose codes are equal.
        worst: largest true loss of a first differing code, in units of what float32 may lose.
    """

    same: float
    worst: float


@torch.no_grad()
def compare(shape: Shape, x: Tensor, ours: Tensor, theirs: Tensor) -> Agreement:
    """Compare codes (N, Q * G) of vectors (N, dim), each vector up to where its codes part.

    Behind that the two quantize different residuals.
    """
    parted = (ours != theirs).any(1).nonzero()[:, 0]
    same = 1 - len(parted) / len(x)
    if not len(parted):
        return Agreement(same, 0.0)
    rest = x[parted].double()
    mine, others = (c[parted].view(-1, shape.layers, shape.groups) for c in (ours, theirs))
    together = torch.ones(len(parted), dtype=torch.bool)
    books, projections = shape.books().double(), shape.projections()
    worst = 0.0
    for layer in range(shape.layers):
        project_in, project_out = (part.double() for part in projections[layer])
        seen = project_in(rest) if shape.projects else rest
        chosen = []
        for group, part in enumerate(seen.chunk(shape.groups, dim=1)):
            book = books[layer, group]
            codes, rival = mine[:, layer, group], others[:, layer, group]
            lost = _scores(shape, part, book[codes]) - _scores(shape, part, book[rival])
            size = part.square().sum(1) + book.square().sum(1).max()
            allowed = ROUNDINGS * (shape.dim + shape.width) * size
            where = together & (codes != rival)
            if where.any():
                worst = max(worst, float((lost.abs() / allowed)[where].max()))
            chosen.append(book[codes])
        together &= (mine[:, layer] == others[:, layer]).all(1)
        values = torch.cat(chosen, 1)
        rest = rest - (project_out(values) if shape.projects else values)
    return Agreement(same, worst)


def _scores(shape: Shape, x: Tensor, codes: Tensor) -> Tensor:
    if shape.by_direction:
        return (x * F.normalize(codes)).sum(1)
    return (x * codes).sum(1) - codes.square().sum(1) / 2

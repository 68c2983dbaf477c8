"""Books that start as the centres of the latents that they will code."""

import torch
from torch import Tensor

from echoic.cuda_ext.ops import codebook_statistics, nearest_code


def kmeans(x: Tensor, num_codes: int, *, iterations: int, generator: torch.Generator) -> Tensor:
    """Return the centres (K, D) of rows (N, D), by Lloyd's steps from random rows.

    A centre without rows moves next to a random row. What is drawn again, or because there are
    fewer rows than centres, gets noise of a hundredth of their spread: no two are the same.

    Raises:
        ValueError: there are no rows.
    """
    if x.shape[0] == 0:
        raise ValueError("k-means over 0 latents, expected 1 or more: give the quantizer sound")
    centres = _draw(x, num_codes, generator)
    for _ in range(iterations):
        codes = nearest_code(x, centres)
        counts, sums = codebook_statistics(x, codes, num_codes)
        empty = counts == 0
        centres = sums / counts.clamp(min=1.0)[:, None]
        if bool(empty.any()):
            centres[empty] = _near(x, int(empty.sum()), generator)
    return centres


def _draw(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` random rows, different ones where there are enough."""
    if x.shape[0] >= count:
        return x[torch.randperm(x.shape[0], generator=generator)[:count].to(x.device)]
    return _near(x, count, generator)


def _near(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return points close to `count` random rows."""
    chosen = torch.randint(x.shape[0], (count,), generator=generator).to(x.device)
    noise = torch.randn(count, x.shape[1], generator=generator).to(x)
    spread = x.std(0, correction=0).clamp(min=1e-3)
    return x[chosen] + 0.01 * spread * noise

"""How much of its books a quantizer uses."""

from typing import NamedTuple

import torch
from torch import Tensor


class Usage(NamedTuple):
    """Of each book.

    Attributes:
        share: (Q,) codes that occur at all, of the book's K; 0 to 1.
        perplexity: (Q,) exp of the entropy of how often each occurs; 1 to K.
    """

    share: Tensor
    perplexity: Tensor


def count_codes(codes: Tensor, codebook_size: int) -> Tensor:
    """Return how often each code occurs in each book: (B, Q, T) -> (Q, K) int64."""
    books = codes.transpose(0, 1).flatten(1)
    counts = [torch.bincount(book, minlength=codebook_size) for book in books]
    return torch.stack(counts)


def usage(counts: Tensor) -> Usage:
    """Return the usage of books from how often each code occurs, (Q, K); all 0 where none does."""
    counts = counts.double()
    total = counts.sum(1)
    p = counts / total.clamp(min=1.0)[:, None]
    perplexity = torch.exp(-torch.special.xlogy(p, p).sum(1))
    return Usage((counts > 0).double().mean(1), torch.where(total > 0, perplexity, 0.0))

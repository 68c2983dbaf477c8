"""The glancing sampler (Qian et al. 2021, arXiv 2008.07905): labels where the first try was wrong.

The more tokens a first pass gets wrong, the more acoustic embeddings are replaced by those of the
labels, anywhere in the utterance. As the model learns, only acoustic ones remain.
"""

import torch
from torch import Tensor

from echoic.asr.paraformer.sanm import length_mask


def glance(
    guesses: Tensor,
    labels: Tensor,
    lengths: Tensor,
    ratio: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choose the tokens whose embedding is to be that of the label.

    Args:
        guesses: (B, N) ids of the first pass.
        labels: (B, N) ids.
        lengths: (B,) tokens that count.
        ratio: tokens chosen for each wrong guess, rounded down for the utterance.
        generator: on the CPU; makes the choice reproducible.

    Returns:
        (B, N), True where chosen: floor(wrong guesses * ratio) of each row, evenly drawn.
    """
    real = length_mask(lengths, labels.shape[1])
    wanted = (((guesses != labels) & real).sum(1) * ratio).floor()
    keys = torch.rand(labels.shape, generator=generator).to(labels.device)
    # The rank of each key among those of its row; padding comes last.
    rank = keys.masked_fill(~real, 2.0).argsort(1).argsort(1)
    return (rank < wanted[:, None]) & real

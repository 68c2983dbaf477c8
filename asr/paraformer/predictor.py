"""What every predictor of tokens returns, and the times at which a running sum passes a level."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

# A token begins when so much of its weight has arrived: silence before it is not part of it.
ONSET = 0.05


class Prediction(NamedTuple):
    """The tokens that a predictor found in the sound.

    Attributes:
        tokens: (B, N, D) acoustic embeddings, 0 beyond each row's count.
        counts: (B,) int64 tokens.
        quantity: (B,) how many tokens there seem to be, before it was made a whole number; its
            error is what trains the predictor.
        weights: (B, T) weights of the frames before they were scaled.
        starts: (B, N) float64 frames at which each token begins.
        ends: (B, N) float64 frames at which each token is complete.
        ctc_logits: (B, T, V) in training, where the predictor has a CTC head of its own.
    """

    tokens: Tensor
    counts: Tensor
    quantity: Tensor
    weights: Tensor
    starts: Tensor
    ends: Tensor
    ctc_logits: Tensor | None = None


class Predictor(nn.Module):
    """Base of the predictors: how many tokens there are, and what of the sound belongs to each."""

    def forward(
        self,
        hidden: Tensor,
        lengths: Tensor,
        labels: Tensor | None = None,
        label_lengths: Tensor | None = None,
    ) -> Prediction:
        """Find the tokens.

        Args:
            hidden: (B, T, D) of the encoder, T >= 1.
            lengths: (B,) int64 frames that count.
            labels: (B, L) int64, in training: as many tokens as labels are returned.
            label_lengths: (B,) int64 labels that count.
        """
        raise NotImplementedError


def crossings(weights: Tensor, levels: Tensor) -> Tensor:
    """Return the frames at which the running sum of weights reaches each level.

    Inside a frame the sum grows evenly.

    Args:
        weights: (B, T) >= 0, T >= 1.
        levels: (B, N) >= 0.

    Returns:
        (B, N) float64, T where a level is never reached.
    """
    weights = weights.detach().double()
    sums = weights.cumsum(1)
    levels = levels.double().contiguous()
    at = torch.searchsorted(sums, levels)
    inside = at.clamp(max=weights.shape[1] - 1)
    weight = weights.gather(1, inside)
    before = sums.gather(1, inside) - weight
    part = ((levels - before) / weight.clamp(min=1e-12)).clamp(0, 1)
    return torch.where(at < weights.shape[1], at + part, float(weights.shape[1]))


def token_times(weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return where each of `size` tokens begins and ends, by weights that sum to their number.

    Args:
        weights: (B, T) >= 0.
        size: N.

    Returns:
        Two (B, N) float64, in frames.
    """
    levels = torch.arange(1, size + 1, device=weights.device).expand(len(weights), -1)
    return crossings(weights, levels - (1 - ONSET)), crossings(weights, levels)

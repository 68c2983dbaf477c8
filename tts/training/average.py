"""A running mean of a model's weights: what is validated and exported."""

import copy

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """An average that is short at first, so that random weights are soon forgotten.

    Args:
        source: what is averaged; copied.
        decay: of the mean in the long run.

    Raises:
        ValueError: a decay that is not from 0 to below 1.
    """

    updates: Tensor

    def __init__(self, source: nn.Module, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay is {decay}, expected 0 (no average) to less than 1")
        self.decay = decay
        self.model = copy.deepcopy(source).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.train(False)

    def train(self, mode: bool = True) -> "Average":
        """Stay in evaluation mode: the average never learns by itself."""
        return super().train(False)

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Take one step towards the source."""
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        pairs = zip(self.model.parameters(), source.parameters(), strict=True)
        ours, theirs = zip(*pairs, strict=True)
        torch._foreach_lerp_(list(ours), list(theirs), 1 - decay)  # pyright: ignore
        self.updates += 1

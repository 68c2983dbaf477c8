"""Loss weights that are shares of the gradient, whatever the losses' scales."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from echoic.codecs.quantize import sync


class GradientBalancer(nn.Module):
    """Weighs losses by the gradients they send to the codec's output.

    Each loss's gradient with respect to the output is divided by a running mean of its norm and
    multiplied by the loss's share of all weights, so that a weight says how much of the change is
    this loss's, not how large its numbers are (EnCodec, Défossez et al. 2022, section 3.4). The
    running means are buffers: a resumed run goes on with them.

    Args:
        weights: of each loss by name; a loss of another name is an error.
        total: norm of the sum of all gradients of one item, if they all pointed one way.
        decay: of the running means, whose start is corrected as Adam's.
    """

    norms: Tensor
    fill: Tensor

    def __init__(
        self, weights: Mapping[str, float], total: float = 1.0, decay: float = 0.999
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1 or total <= 0:
            raise ValueError(
                f"decay is {decay} and total {total}, expected 0 <= decay < 1 and total above 0"
            )
        self.names = tuple(weights)
        self.loss_weights = dict(weights)
        self.total = total
        self.decay = decay
        self.register_buffer("norms", torch.zeros(len(weights)))
        self.register_buffer("fill", torch.zeros(len(weights)))

    def forward(self, losses: Mapping[str, Tensor], output: Tensor) -> Tensor:
        """Return the gradient that the output is to receive, of the output's shape.

        Args:
            losses: scalars that depend on `output`; their graphs are used up.
            output: (B, ...) what the codec made.

        Raises:
            ValueError: a loss that has no weight.
        """
        unknown = sorted(set(losses) - set(self.names))
        if unknown:
            raise ValueError(f"no weight for {', '.join(unknown)}: name all losses")
        share = sum(self.loss_weights[name] for name in losses)
        result = torch.zeros_like(output)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, [output], retain_graph=True)
            norm = self._norm(name, gradient)
            weight = self.total * self.loss_weights[name] / share
            result += gradient * (weight / norm.clamp(min=1e-12))
        return result

    @torch.no_grad()
    def _norm(self, name: str, gradient: Tensor) -> Tensor:
        """Update the running mean of a loss's gradient norm (of an item) and return it."""
        own = gradient.float().flatten(1).norm(dim=1).mean()
        count = torch.ones_like(own)
        sync.add_up(own, count)
        index = self.names.index(name)
        self.norms[index].lerp_(own / count, 1 - self.decay)
        self.fill[index].lerp_(torch.ones_like(own), 1 - self.decay)
        return self.norms[index] / self.fill[index]

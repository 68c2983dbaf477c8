"""Small residual networks behind an encoder layer: those of many languages, one for each row.

All are held side by side in one tensor a weight; the rows of a batch pick theirs by number, in one
gather and two batched products, however many languages there are.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Names of one network's weights in a file, and of the tensors that hold those of all.
WEIGHTS = {
    "norm.weight": "norm_weight",
    "norm.bias": "norm_bias",
    "down.weight": "down_weight",
    "down.bias": "down_bias",
    "up.weight": "up_weight",
    "up.bias": "up_bias",
}


class LayerAdapters(nn.Module):
    """Layer norm, down to a bottleneck, ReLU, up again, added to what came in.

    New ones are zero, and change nothing, bit for bit.

    Args:
        count: how many to hold.
        width: of the encoder, C.
        bottleneck: widest of them; narrower ones are filled up with zeros, which add nothing.
    """

    def __init__(self, count: int, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm_weight = nn.Parameter(torch.zeros(count, width))
        self.norm_bias = nn.Parameter(torch.zeros(count, width))
        self.down_weight = nn.Parameter(torch.zeros(count, bottleneck, width))
        self.down_bias = nn.Parameter(torch.zeros(count, bottleneck))
        self.up_weight = nn.Parameter(torch.zeros(count, width, bottleneck))
        self.up_bias = nn.Parameter(torch.zeros(count, width))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        """Adapt each row by a network of its own.

        Args:
            x: (B, T, C).
            which: int64 (B,), number of each row's.

        Returns:
            (B, T, C).
        """
        h = functional.layer_norm(x, x.shape[-1:])
        h = h * self.norm_weight[which][:, None] + self.norm_bias[which][:, None]
        down = self.down_weight[which].transpose(1, 2)
        h = torch.baddbmm(self.down_bias[which][:, None], h, down).relu()
        up = self.up_weight[which].transpose(1, 2)
        return x + torch.baddbmm(self.up_bias[which][:, None], h, up)

    @torch.no_grad()
    def put(self, number: int, weights: Mapping[str, Tensor]) -> None:
        """Set the weights of one network, by their names in a file."""
        for name, attribute in WEIGHTS.items():
            value = weights[name]
            getattr(self, attribute)[number][tuple(map(slice, value.shape))] = value

    def get(self, number: int) -> dict[str, Tensor]:
        """Return the weights of one network, as `put` takes them."""
        return {name: getattr(self, attr)[number].detach() for name, attr in WEIGHTS.items()}

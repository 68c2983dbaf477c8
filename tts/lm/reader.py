"""Text as a model hears it that says it unit by unit: each with those around it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ReaderConfig:
    """Its shape.

    Attributes:
        layers: of convolutions.
        kernel: units that each of them sees, an odd number.

    Raises:
        ValueError: sizes that do not fit.
    """

    layers: int = 4
    kernel: int = 9

    def __post_init__(self) -> None:
        if self.layers < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"{self}: give one layer at least, and an odd kernel")

    @property
    def ahead(self) -> int:
        """Units behind one that its vector depends on."""
        return self.layers * (self.kernel // 2)


class TextReader(nn.Module):
    """Convolutions over units: what comes later than `ahead` of them does not matter.

    So text may still come while speech goes out. The layers are ConvNeXt's (Liu et al. 2022).

    Args:
        config: see there.
        dim: width.
    """

    def __init__(self, config: ReaderConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(_Block(dim, config.kernel) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Read units.

        Args:
            x: (B, L, C) their vectors.
            lengths: (B,) of them that count.

        Returns:
            (B, L, C), normed.
        """
        written = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        for block in self.blocks:
            x = block(x, written[:, :, None])
        return self.norm(x)

    def reset(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear | nn.LayerNorm):
                module.reset_parameters()


class _Block(nn.Module):
    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.inner = nn.Linear(dim, 2 * dim)
        self.outer = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, written: Tensor) -> Tensor:
        mixed = self.mix((x * written).transpose(1, 2)).transpose(1, 2)
        return x + self.outer(functional.gelu(self.inner(self.norm(mixed))))

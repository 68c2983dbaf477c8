"""Quantizers that other codecs have and our core has not: in two parts, and in few dimensions.

They stand where `echoic.codecs.quantize.quantizer.Quantizer` stands in a codec: the same calls,
with the same shapes.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.factorized import FactorizedSearch
from echoic.codecs.quantize.quantizer import Quantized, Quantizer, check_codes
from echoic.cuda_ext.ops import nearest_code


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """Settings of `SplitQuantizer`; the defaults are Mimi's.

    Attributes:
        dim: D, channels of the latents.
        codebook_size: K, codes in each book.
        codebook_dim: channels in which the books live, behind projections; None for `dim`.
        semantic_layers: books of the first part.
        acoustic_layers: books of the second.

    Raises:
        ValueError: sizes of 0 or less.
    """

    dim: int
    codebook_size: int = 2048
    codebook_dim: int | None = 256
    semantic_layers: int = 1
    acoustic_layers: int = 31
    num_groups: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_sizes(self, "dim", "codebook_size", "semantic_layers", "acoustic_layers")

    @property
    def num_codebooks(self) -> int:
        """Q, codes of one frame."""
        return self.semantic_layers + self.acoustic_layers

    def layers_of(self, n_q: int | None) -> int:
        """Return how many layers `n_q` codes a frame are: those of the first part at least.

        Raises:
            ValueError: fewer, or more than there are.
        """
        return _layers_of(n_q, self.semantic_layers, self.num_codebooks)

    def part(self, layers: int) -> QuantizerConfig:
        """Return the settings of a part with so many layers."""
        return QuantizerConfig(
            self.dim, self.codebook_size, layers, codebook_dim=self.codebook_dim, dead_share=0.0
        )


class SplitQuantizer(nn.Module):
    """Two residual quantizers of the same latents, whose values are added.

    Mimi's (Défossez et al. 2024, arXiv:2410.00037, section 3.3.1): what the first codes is not
    taken off what the second sees, so that the first can be taught to hold meaning alone.

    Args:
        config: settings.
    """

    def __init__(self, config: SplitConfig) -> None:
        super().__init__()
        self.config = config
        self.semantic = Quantizer(config.part(config.semantic_layers))
        self.acoustic = Quantizer(config.part(config.acoustic_layers))

    def forward(self, x: Tensor, *, n_q: int | None = None) -> Quantized:
        """Quantize latents (B, D, T), with gradients.

        Raises:
            ValueError: another shape, or an n_q that is out of range.
        """
        rest = self._rest(n_q)
        first = self.semantic(x)
        if rest == 0:
            return first
        second = self.acoustic(x, n_q=rest)
        return Quantized(
            first.values + second.values,
            torch.cat([first.codes, second.codes], dim=1),
            (first.commitment + second.commitment) / 2,
            (first.codebook_loss + second.codebook_loss) / 2,
        )

    def encode(self, x: Tensor, n_q: int | None = None) -> Tensor:
        """Return the codes (B, n_q, T) int64 of latents (B, D, T).

        Raises:
            ValueError: another shape, latents that are not finite, or an n_q that is out of range.
        """
        rest = self._rest(n_q)
        codes = self.semantic.encode(x)
        return torch.cat([codes, self.acoustic.encode(x, rest)], dim=1) if rest else codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents (B, D, T) of codes (B, Q', T), a prefix of the layers.

        Raises:
            ValueError: another shape, a Q' that is out of range, or codes that no book has.
        """
        check_codes(codes, self.config)
        first = self.config.semantic_layers
        values = self.semantic.decode(codes[:, :first])
        if codes.shape[1] == first:
            return values
        return values + self.acoustic.decode(codes[:, first:])

    def check_codes(self, codes: Tensor) -> int:
        """Return how many layers codes (B, Q', T) are of; see `Quantizer.check_codes`."""
        return check_codes(codes, self.config)

    def _rest(self, n_q: int | None) -> int:
        return self.config.layers_of(n_q) - self.config.semantic_layers


@dataclass(frozen=True, slots=True)
class FactorizedConfig:
    """Settings of `FactorizedQuantizer`; the defaults are DAC's at 44.1 kHz.

    Attributes:
        dim: D, channels of the latents.
        codebook_size: K, codes in each book.
        num_layers: residual layers.
        codebook_dim: channels of a code.

    Raises:
        ValueError: sizes of 0 or less.
    """

    dim: int
    codebook_size: int = 1024
    num_layers: int = 9
    codebook_dim: int = 8
    num_groups: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_sizes(self, "dim", "codebook_size", "num_layers", "codebook_dim")

    @property
    def num_codebooks(self) -> int:
        """Q, codes of one frame."""
        return self.num_layers

    def layers_of(self, n_q: int | None) -> int:
        """Return how many layers `n_q` codes a frame are.

        Raises:
            ValueError: none, or more than there are.
        """
        return _layers_of(n_q, 1, self.num_layers)


class FactorizedLayer(nn.Module):
    """A book of few channels between projections; codes are chosen by direction, not by length.

    Args:
        config: settings.
    """

    def __init__(self, config: FactorizedConfig) -> None:
        super().__init__()
        self.project_in = nn.Linear(config.dim, config.codebook_dim)
        self.project_out = nn.Linear(config.codebook_dim, config.dim)
        self.book = nn.Parameter(torch.randn(config.codebook_size, config.codebook_dim))

    def choose(self, inside: Tensor) -> Tensor:
        """Return the codes (N,) of projected latents (N, codebook_dim)."""
        directions = F.normalize(inside.detach()).contiguous()
        return nearest_code(directions, F.normalize(self.book.detach()))


class FactorizedQuantizer(nn.Module):
    """Residual layers that search in few dimensions (Kumar et al. 2023, arXiv:2306.06546, 3.2).

    Args:
        config: settings.
    """

    def __init__(self, config: FactorizedConfig) -> None:
        super().__init__()
        self.config = config
        layers = [FactorizedLayer(config) for _ in range(config.num_layers)]
        self.layers = nn.ModuleList(layers)
        self._search = FactorizedSearch(layers)

    def forward(self, x: Tensor, *, n_q: int | None = None) -> Quantized:
        """Quantize latents (B, D, T), with gradients to the latents, projections and books.

        Raises:
            ValueError: another shape, latents that are not finite, or an n_q that is out of range.
        """
        layers = self._first(self.config.layers_of(n_q))
        with torch.autocast(x.device.type, enabled=False):
            rest = self._rows(x)
            total, codes = torch.zeros_like(rest), []
            commitment = codebook_loss = rest.new_zeros(())
            for layer in layers:
                inside = layer.project_in(rest)
                codes.append(layer.choose(inside))
                values = layer.book[codes[-1]]
                commitment = commitment + (inside - values.detach()).square().mean()
                codebook_loss = codebook_loss + (inside.detach() - values).square().mean()
                passed = layer.project_out(inside + (values - inside).detach())
                total, rest = total + passed, rest - passed
        shape = (x.shape[0], x.shape[2])
        return Quantized(
            total.view(*shape, self.config.dim).transpose(1, 2),
            torch.stack(codes, dim=1).view(*shape, len(layers)).transpose(1, 2),
            commitment / len(layers),
            codebook_loss / len(layers),
        )

    @torch.no_grad()
    def encode(self, x: Tensor, n_q: int | None = None) -> Tensor:
        """Return the codes (B, n_q, T) int64 of latents (B, D, T).

        Raises:
            ValueError: another shape, latents that are not finite, or an n_q that is out of range.
        """
        layers = self.config.layers_of(n_q)
        with torch.autocast(x.device.type, enabled=False):
            codes = self._search.codes(self._rows(x), layers)
        return codes.view(x.shape[0], x.shape[2], layers).transpose(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents (B, D, T) of codes (B, Q', T), a prefix of the layers.

        Raises:
            ValueError: another shape, a Q' that is out of range, or codes that no book has.
        """
        layers = self._first(self.check_codes(codes))
        shape = (codes.shape[0], codes.shape[2], self.config.dim)
        total = torch.zeros(shape, dtype=layers[0].book.dtype, device=codes.device)
        for layer, chosen in zip(layers, codes.unbind(1), strict=True):
            total = total + layer.project_out(layer.book[chosen])
        return total.transpose(1, 2)

    def check_codes(self, codes: Tensor) -> int:
        """Return how many layers codes (B, Q', T) are of; see `Quantizer.check_codes`."""
        return check_codes(codes, self.config)

    def _first(self, count: int) -> list[FactorizedLayer]:
        return [layer for layer in self.layers[:count] if isinstance(layer, FactorizedLayer)]

    def _rows(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or x.shape[1] != self.config.dim:
            raise ValueError(
                f"latents have shape {tuple(x.shape)}, expected (batch, {self.config.dim}, frames)"
            )
        return x.float().transpose(1, 2).flatten(0, 1)


def _check_sizes(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}, expected 1 or more")


def _layers_of(n_q: int | None, least: int, most: int) -> int:
    n_q = most if n_q is None else n_q
    if not least <= n_q <= most:
        raise ValueError(f"n_q is {n_q}, expected {least} to {most}")
    return n_q

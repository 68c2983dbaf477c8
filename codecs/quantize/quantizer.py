"""The quantizer core: group-residual, masked-channel and single-book quantization in one module."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from echoic.codecs.quantize.codebooks import DROPOUT_SEED, Codebooks, layer_input, seeded
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.gradient import pass_gradient
from echoic.codecs.quantize.search import Search
from echoic.cuda_ext.ops import lookup_sum, residual_quantize


class Quantized(NamedTuple):
    """What became of latents.

    Attributes:
        values: (B, D, T) the latents as their codes have them; gradients pass to the latents.
        codes: (B, Q, T) int64, layer by layer and in a layer group by group; 0 where masked out.
        commitment: mean squared distance of each layer's input from its codes, averaged over the
            layers used; its gradient pulls the latents towards the codes, through every layer.
        codebook_loss: the same number, whose gradient pulls the books; 0 when they are running
            means.
    """

    values: Tensor
    codes: Tensor
    commitment: Tensor
    codebook_loss: Tensor


class Quantizer(nn.Module):
    """Vectors to codes and back, for latents (B, D, T).

    In training mode `forward` also lets the books learn. Arithmetic is float32 whatever the
    autocast, and the same latent has the same codes alone or in any batch.

    Args:
        config: settings.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.book_width
        self.project_in = self.project_out = None
        if config.codebook_dim is not None:
            self.project_in = nn.Linear(config.dim, width)
            self.project_out = nn.Linear(width, config.dim)
        self.codebooks = Codebooks(config)
        masks = channel_masks(width, config.masked_layers)
        self.masks: Tensor | None
        self.register_buffer("masks", masks, persistent=False)
        self._search = Search(self.codebooks, self.project_in)

    def forward(
        self, x: Tensor, *, n_q: int | None = None, mask: Tensor | None = None
    ) -> Quantized:
        """Quantize, and in training mode learn.

        Args:
            x: (B, D, T) latents.
            n_q: codes of a frame; None for all, or in training for what dropout draws.
            mask: (B, T) bool, True where there is sound; the rest neither teaches nor counts.

        Raises:
            ValueError: another shape, latents that are not finite, or an n_q that is out of range.
        """
        self._check(x)
        layers = self._draw_layers() if n_q is None else self.config.layers_of(n_q)
        with torch.autocast(x.device.type, enabled=False):
            rows = x.float().transpose(1, 2)
            kept = rows.flatten(0, 1) if mask is None else rows[mask]
            inside = kept if self.project_in is None else self.project_in(kept)
            values, codes, commitment, codebook_loss = self._quantize(inside, layers)
            if self.project_out is not None:
                values = self.project_out(values)
        whole_codes = codes.new_zeros(*rows.shape[:2], codes.shape[1])
        if mask is None:
            values, whole_codes = values.view_as(rows), codes.view_as(whole_codes)
        else:
            values = torch.zeros_like(rows).masked_scatter(mask[..., None], values)
            whole_codes[mask] = codes
        return Quantized(
            values.transpose(1, 2), whole_codes.transpose(1, 2), commitment, codebook_loss
        )

    @torch.no_grad()
    def encode(self, x: Tensor, n_q: int | None = None) -> Tensor:
        """Return the codes (B, n_q, T) int64 of latents (B, D, T).

        Raises:
            ValueError: another shape, latents that are not finite, or an n_q that is out of range.
        """
        self._check(x)
        layers = self.config.layers_of(n_q)
        with torch.autocast(x.device.type, enabled=False):
            rows = x.float().transpose(1, 2).reshape(-1, self.config.dim)
            codes = self._search.codes(rows, self.masks, layers)
        books = layers * self.config.num_groups
        return codes.view(x.shape[0], x.shape[2], books).transpose(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents (B, D, T) of codes (B, Q', T), a prefix of the layers.

        Raises:
            ValueError: another shape, a Q' that is out of range, or codes that no book has.
        """
        layers = self.check_codes(codes)
        groups, width = self.config.num_groups, self.config.book_width
        rows = codes.transpose(1, 2).reshape(-1, layers, groups)
        values = lookup_sum(rows, self.codebooks.books[:layers])
        if self.project_out is not None:
            values = self.project_out(values)
        width = self.config.dim
        return values.view(codes.shape[0], codes.shape[2], width).transpose(1, 2)

    def check_codes(self, codes: Tensor) -> int:
        """Return how many layers codes (B, Q', T) are of.

        Raises:
            ValueError: another shape, a Q' that is out of range, or codes that no book has.
        """
        return check_codes(codes, self.config)

    def _quantize(self, x: Tensor, layers: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quantize rows (N, width): values, codes (N, Q'), commitment, codebook loss."""
        config, books = self.config, self.codebooks
        nothing = x.new_zeros(())
        learning = self.training and torch.is_grad_enabled()
        if learning:
            books.steps += 1
            if not books.is_initialized and int(books.steps) > config.warmup_steps:
                books.collect(x, self.masks)
        if not books.is_initialized:
            codes = torch.zeros(len(x), layers * config.num_groups, dtype=torch.int64)
            return x, codes.to(x.device), nothing, nothing
        masks = None if self.masks is None else self.masks[:layers]
        codes = residual_quantize(x.detach(), books.books[:layers].detach(), masks).codes
        total, commitment, codebook_loss = torch.zeros_like(x), nothing, nothing
        for layer in range(layers):
            seen = layer_input(x, total.detach(), masks, layer)
            values = lookup_sum(codes[:, layer : layer + 1], books.books[layer : layer + 1])
            commitment = commitment + (seen - values.detach()).square().mean()
            if config.learning == "gradient":
                codebook_loss = codebook_loss + (seen.detach() - values).square().mean()
            total = total + values.detach()
            if learning:
                self._teach(layer, seen, codes[:, layer])
        values = pass_gradient(x, total, config.gradient)
        return values, codes.flatten(1), commitment / layers, codebook_loss / layers

    def _teach(self, layer: int, seen: Tensor, codes: Tensor) -> None:
        config, books = self.config, self.codebooks
        books.follow(layer, seen, codes)
        if config.dead_share > 0 and int(books.steps) % config.dead_interval == 0:
            books.revive(layer, seen)

    def _draw_layers(self) -> int:
        config = self.config
        if not self.training or config.dropout == 0.0:
            return config.num_layers
        generator = seeded(DROPOUT_SEED, int(self.codebooks.steps))
        if float(torch.rand((), generator=generator)) >= config.dropout:
            return config.num_layers
        high = config.num_layers + 1
        return int(torch.randint(config.min_layers, high, (), generator=generator))

    def _check(self, x: Tensor) -> None:
        if x.dim() != 3 or x.shape[1] != self.config.dim:
            raise ValueError(
                f"latents have shape {tuple(x.shape)}, expected (batch, {self.config.dim}, frames)"
            )


class Books(Protocol):
    """What the settings of any quantizer tell about its codes."""

    @property
    def codebook_size(self) -> int:
        """K, values of one code."""
        ...

    def layers_of(self, n_q: int | None) -> int:
        """Return how many layers `n_q` codes a frame are; a ValueError where out of range."""
        ...


def check_codes(codes: Tensor, config: Books) -> int:
    """Return how many layers codes (B, Q', T) are of.

    Raises:
        ValueError: another shape, a Q' that is out of range, or codes that no book has.
    """
    if codes.dim() != 3 or codes.is_floating_point():
        raise ValueError(
            f"codes have shape {tuple(codes.shape)} and type {codes.dtype}, expected integers "
            "(batch, n_q, frames)"
        )
    layers = config.layers_of(codes.shape[1])
    if codes.numel():
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= config.codebook_size:
            raise ValueError(
                f"codes go from {low} to {high}, expected 0 to {config.codebook_size - 1}: they "
                "are of another codec"
            )
    return layers


def channel_masks(width: int, masked_layers: int) -> Tensor | None:
    """Return 0/1 masks (M, width) of the M parts of the channels; None for no parts.

    Part i holds channels [width * i // M, width * (i + 1) // M): 42, 43 and 43 of 128 for three.
    """
    if masked_layers == 0:
        return None
    masks = torch.zeros(masked_layers, width)
    for part in range(masked_layers):
        start, end = (width * i // masked_layers for i in (part, part + 1))
        masks[part, start:end] = 1.0
    return masks

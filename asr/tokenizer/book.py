"""The codes of a tokenizer that has learned, and what its training needs of those that learn."""

from typing import Any

import torch
from torch import Tensor, nn

from echoic.cuda_ext.ops import nearest_code, pack_codebooks

# Codes of fewer channels are searched faster without a screen; the codes found are the same.
_SCREEN_WIDTH = 32


class Book(nn.Module):
    """One book of codes that learn no more.

    Args:
        vectors: (K, D), one for each code.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self._made_for: Any = None
        self._packed: Any = None

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the nearest codes (B, N) int64 of states (B, N, D).

        Raises:
            ValueError: another shape, or NaN or infinite states.
        """
        wide = self.vectors.shape[1] >= _SCREEN_WIDTH
        mode = "screened" if wide else "exact"
        made_for = (self.vectors.data_ptr(), self.vectors._version, self.vectors.device)
        if made_for != self._made_for:
            self._packed = pack_codebooks(self.vectors, mode=mode)
            self._made_for = made_for
        rows = x.float().flatten(0, 1).contiguous()
        return nearest_code(rows, self._packed, mode=mode).view(x.shape[:2])

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, N, D) of codes (B, N).

        Raises:
            ValueError: codes that the book does not have.
        """
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(self.vectors):
            raise ValueError(
                f"codes from {int(codes.min())} to {int(codes.max())}, expected 0 to "
                f"{len(self.vectors) - 1}: they are of another tokenizer"
            )
        return self.vectors[codes]


def check_quantizer(quantizer: nn.Module, width: int) -> int:
    """Return how many codes a quantizer has, if a tokenizer can learn with it.

    It is one like `Quantizer` of the codecs: called with latents (B, D, N) and a `mask` (B, N) it
    returns `values`, `codes`, `commitment` and `codebook_loss`, and `decode` tells a code's vector.

    Raises:
        ValueError: it has several books, or vectors of another width.
    """
    config: Any = quantizer.config
    found = (config.dim, config.book_width, config.num_codebooks)
    if found != (width, width, 1):
        raise ValueError(
            f"a quantizer of {config.num_codebooks} books for {config.dim} channels, "
            f"{config.book_width} inside: expected 1 for {width}, the model's width, no projection"
        )
    return config.codebook_size


@torch.no_grad()
def book_of(quantizer: Any, width: int) -> Tensor | None:
    """Return the vectors (K, D) of a quantizer; None while it lets latents pass unquantized."""
    size: int = quantizer.config.codebook_size
    device = next(iter(quantizer.state_dict().values())).device
    probe = torch.linspace(-1.0, 1.0, width, device=device)[None, :, None]
    if torch.equal(quantizer(probe).values, probe):
        return None
    codes = torch.arange(size, device=device)[None, None]
    return quantizer.decode(codes)[0].T.contiguous()

"""Vector quantization by its definition, in float64: what every kernel is held to."""

import torch
from torch import Tensor

from echoic.cuda_ext.ops import PackedCodebooks, ResidualCodes, pack_codebooks


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scores(x: Tensor, book: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Return x·e - offset of all pairs, (N, K) float64."""
    wide = book.double()
    taken = wide.square().sum(1) / 2 if offsets is None else offsets.double()
    return x.double() @ wide.T - taken


def doubt(x: Tensor, book: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Return by how much two float32 scores of each vector may be wrong together, (N,)."""
    wide = book.double()
    taken = wide.square().sum(1) / 2 if offsets is None else offsets.double()
    size = x.double().norm(dim=1) * wide.norm(dim=1).max() + taken.abs().max()
    return 2 * (x.shape[1] + 3) * 2.0**-24 * size


def assert_best(codes: Tensor, x: Tensor, book: Tensor, offsets: Tensor | None = None) -> None:
    """Fail unless each code's true score is the best, or as near as float32 can tell."""
    true = scores(x, book, offsets)
    lost = true.max(1).values - true.gather(1, codes[:, None])[:, 0]
    assert (lost <= doubt(x, book, offsets)).all(), float(lost.max())


def assert_quantizes(
    result: ResidualCodes,
    x: Tensor,
    codebooks: Tensor | PackedCodebooks,
    masks: Tensor | None = None,
) -> None:
    """Fail unless codes, sum and energies are what the definition says, layer by layer."""
    books = (pack_codebooks(codebooks) if isinstance(codebooks, Tensor) else codebooks).codebooks
    layers, groups, _, width = books.shape
    residual, total = x.clone(), torch.zeros_like(x)
    for q in range(layers):
        masked = masks is not None and q < len(masks)
        seen = x * masks[q] if masks is not None and masked else residual
        chosen = torch.cat([books[q, g, result.codes[:, q, g]] for g in range(groups)], 1)
        for g in range(groups):
            part = seen[:, g * width : (g + 1) * width]
            assert_best(result.codes[:, q, g], part, books[q, g])
        energy = (seen.double() - chosen.double()).square().sum(1).float()
        torch.testing.assert_close(result.energies[:, q], energy, rtol=1e-5, atol=1e-6)
        residual, total = residual - chosen, total + chosen
    assert torch.equal(result.quantized, total)

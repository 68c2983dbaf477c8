"""What the kernels compute, in torch: the definition that tests hold them to, and the fallback.

The score of a code is x·e − |e|²/2 in float32, and the lowest index wins ties. Matrix products add
up in an order of their own choice that changes with their shape, so they only screen here: every
code that rounding could have robbed of its win is scored again, in float64 rounded to float32. The
codes then do not depend on how many vectors stand in a batch, and equal codes are true ties.
"""

import torch
from torch import Tensor

# Scores that are held at once, whatever N and K are: 16 MB.
BLOCK_SCORES = 1 << 22
PANEL = 32  # codes that lie side by side in a packed book
FLOAT32_ROUNDING = 2.0**-24
TF32_ROUNDING = 2.0**-11
# Kernels say the same words: ops.py makes one error of both.
NOT_FINITE = "x holds NaN or Inf"
NOT_IN_BOOK = "a code lies outside its book"


def check_finite(x: Tensor) -> None:
    """Raise ValueError where a vector holds NaN or Inf."""
    if not torch.isfinite(x).all():
        raise ValueError(f"{NOT_FINITE}: expected finite vectors, clean or skip the input")


def check_codes(codes: Tensor, size: int) -> None:
    """Raise ValueError where a code is not one of 0..size - 1."""
    if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= size):
        low, high = int(codes.min()), int(codes.max())
        raise ValueError(f"{NOT_IN_BOOK}: expected 0..{size - 1}, got {low}..{high}")


def half_norms(codebooks: Tensor) -> Tensor:
    """Return |e|²/2 of codes (..., K, D) as (..., K), added up in float64 and rounded once."""
    return codebooks.double().square().sum(-1).mul(0.5).float()


def panels(codebooks: Tensor) -> Tensor:
    """Lay codes (Q, G, K, d) out as (Q, G, ceil(K / 32), d, 32): 32 codes side by side.

    A kernel then reads one channel of 32 codes at a stroke. The last panel is filled with zeros.
    """
    layers, groups, size, width = codebooks.shape
    count = -(-size // PANEL)
    padded = torch.nn.functional.pad(codebooks, (0, 0, 0, count * PANEL - size))
    split = padded.view(layers, groups, count, PANEL, width)
    return split.transpose(-1, -2).contiguous()


def screen(codebooks: Tensor) -> Tensor:
    """Lay codes out as `panels`, in bfloat16 and two channels at a time: (.., d / 2, 32, 2)."""
    width = codebooks.shape[-1]
    whole = panels(torch.nn.functional.pad(codebooks, (0, width % 2)))
    pairs = whole.unflatten(-2, (-1, 2)).transpose(-1, -2)
    return _rounded(pairs).contiguous()


def bounds(codebooks: Tensor, offsets: Tensor) -> Tensor:
    """Return each panel's longest code, longest rounding of one, and largest |offset| (.., 3)."""
    exact = codebooks.double()
    lengths = torch.linalg.vector_norm(exact, dim=-1)
    lost = torch.linalg.vector_norm(exact - _rounded(codebooks).double(), dim=-1)
    values = torch.stack([lengths, lost, offsets.abs().double()], -1)  # (Q, G, K, 3)
    size = values.shape[-2]
    padded = torch.nn.functional.pad(values, (0, 0, 0, -size % PANEL))
    return (padded.unflatten(-2, (-1, PANEL)).amax(-2) * (1 + 1e-6)).float()


def _rounded(values: Tensor) -> Tensor:
    # What is below the smallest normal number counts as zero in the processor's products.
    near = values.bfloat16()
    return torch.where(near.abs() < torch.finfo(torch.bfloat16).tiny, torch.zeros_like(near), near)


def nearest_code(x: Tensor, codebook: Tensor, offsets: Tensor) -> Tensor:
    """Return argmax of x·e − offset, for x (N, D) and codes (K, D), as (N,) int64."""
    rows = max(1, BLOCK_SCORES // max(1, codebook.shape[0]))
    codes = torch.empty(x.shape[0], dtype=torch.int64, device=x.device)
    # One matrix for all blocks: glibc may not find room for the next where the last one was.
    scores = x.new_empty((min(rows, x.shape[0]), codebook.shape[0]))
    for block, out in zip(x.split(rows), codes.split(rows), strict=True):
        _search_block(block, codebook, offsets, scores[: len(block)], out)
    return codes


def _search_block(
    x: Tensor, codebook: Tensor, offsets: Tensor, scores: Tensor, codes: Tensor
) -> None:
    """Write the codes of a block of rows, with `scores` (N, K) to work in."""
    torch.addmm(-offsets, x, codebook.T, out=scores)
    best, first = scores.max(dim=1)
    codes.copy_(first)
    least = best - _doubt(x, codebook, offsets)
    scores.scatter_(1, first[:, None], -torch.inf)
    open_rows = (scores.amax(1) >= least).nonzero()[:, 0]
    if len(open_rows):
        doubtful = scores[open_rows] >= least[open_rows, None]
        doubtful.scatter_(1, first[open_rows, None], True)
        codes[open_rows] = _decide(x[open_rows], doubtful, codebook, offsets)


def _doubt(x: Tensor, codebook: Tensor, offsets: Tensor) -> Tensor:
    """Bound how far below the best screened score (N,) the true winner's may lie.

    Sums of n products in any order err by n roundings of |x||e| at most (Higham 2002, 3.5).
    """
    tf32 = x.is_cuda and torch.backends.cuda.matmul.allow_tf32
    relative = 4 * (x.shape[1] + 4) * FLOAT32_ROUNDING + (8 * TF32_ROUNDING if tf32 else 0.0)
    longest = torch.linalg.vector_norm(codebook, dim=1).max()
    return relative * (torch.linalg.vector_norm(x, dim=1) * longest + offsets.abs().max())


def _decide(x: Tensor, candidates: Tensor, codebook: Tensor, offsets: Tensor) -> Tensor:
    """Choose among the candidate codes (N, K) of each row by scores rounded once."""
    scores = x.new_full(candidates.shape, -torch.inf)
    rows, codes = candidates.nonzero(as_tuple=True)
    pairs = max(1, BLOCK_SCORES // (2 * x.shape[1]))
    for some_rows, some_codes in zip(rows.split(pairs), codes.split(pairs), strict=True):
        products = x[some_rows].double() * codebook[some_codes].double()
        scores[some_rows, some_codes] = products.sum(-1).float() - offsets[some_codes]
    return scores.argmax(dim=1)


def residual_quantize(
    x: Tensor, codebooks: Tensor, offsets: Tensor, masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes (N, Q, G), their sum (N, D) and residual energies (N, Q).

    The first M layers read `x * masks[q]`, all others what the codes so far have left of `x`.
    """
    num_layers, num_groups, _, width = codebooks.shape
    masked = 0 if masks is None else masks.shape[0]
    codes = torch.empty((x.shape[0], num_layers, num_groups), dtype=torch.int64, device=x.device)
    energies = x.new_empty((x.shape[0], num_layers))
    residual, quantized = x.clone(), torch.zeros_like(x)
    for q in range(num_layers):
        seen = x * masks[q] if masks is not None and q < masked else residual
        for g in range(num_groups):
            part = seen[:, g * width : (g + 1) * width]
            codes[:, q, g] = nearest_code(part, codebooks[q, g], offsets[q, g])
        chosen = lookup_sum(codes[:, q : q + 1], codebooks[q : q + 1])
        energies[:, q] = (seen - chosen).square().sum(1)
        residual = residual - chosen
        quantized = quantized + chosen
    return codes, quantized, energies


def lookup_sum(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sum over layers of the codes (N, Q, G) of books (Q, G, K, d) as (N, G * d)."""
    num_layers, num_groups, _, width = codebooks.shape
    total = codebooks.new_zeros((codes.shape[0], num_groups, width))
    groups = torch.arange(num_groups, device=codes.device)
    for q in range(num_layers):
        total = total + codebooks[q, groups, codes[:, q]]
    return total.flatten(1)


def lookup_sum_backward(grad: Tensor, codes: Tensor, size: int) -> Tensor:
    """Return what gradients (N, D) of looked-up sums add up to in each code (Q, G, K, d)."""
    _, num_layers, num_groups = codes.shape
    width = grad.shape[1] // num_groups
    books = grad.new_zeros((num_layers, num_groups, size, width))
    for q in range(num_layers):
        for g in range(num_groups):
            part = grad[:, g * width : (g + 1) * width]
            books[q, g] = codebook_statistics(part, codes[:, q, g], size)[1]
    return books


def codebook_statistics(x: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return how many vectors each code has (K,), and their sums (K, D).

    Sorted by code and added up in the order of the rows, in float64: no atomics, so that the result
    is the same each time.
    """
    ordered, order = codes.sort(stable=True)
    edges = torch.arange(size + 1, device=codes.device)
    counts = torch.searchsorted(ordered, edges).diff()
    sums = torch.segment_reduce(x[order].double(), "sum", lengths=counts, axis=0, initial=0)
    return counts.to(x.dtype), sums.to(x.dtype)

"""The ops under `torch.ops.echoic`: their schema, what they return in form, and their gradients.

The bodies are the reference. The first call of one loads the compiled kernels, building them if
need be; from then on torch calls those, and the body only where there are none.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from echoic.cuda_ext import library, reference
from echoic.cuda_ext.reference import PANEL

# The readable torch code of each op: what runs where there is no kernel.
BODIES: dict[str, Callable[..., Any]] = {}


def op(body: Callable[..., Any]) -> Any:
    """Register a body under its name as an op that calls the compiled kernel where there is one."""
    name = body.__name__
    BODIES[name] = body

    @functools.wraps(body)
    def without_kernel(first: Tensor, *others: Any) -> Any:
        if library.ready(name, first.device.type):
            return getattr(torch.ops.echoic, name).default(first, *others)
        return body(first, *others)

    return torch.library.custom_op(f"echoic::{name}", without_kernel, mutates_args=())


@op
def pack_codebooks(codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Return half norms (Q, G, K) and panels (Q, G, ceil(K / 32), d, 32) of (Q, G, K, d)."""
    return reference.half_norms(codebooks), reference.panels(codebooks)


@pack_codebooks.register_fake
def _(codebooks: Tensor) -> tuple[Tensor, Tensor]:
    layers, groups, size, width = codebooks.shape
    count = (size + PANEL - 1) // PANEL
    norms = codebooks.new_empty((layers, groups, size))
    return norms, codebooks.new_empty((layers, groups, count, width, PANEL))


@op
def pack_screen(codebooks: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return books in bfloat16 (Q, G, ceil(K / 32), ceil(d / 2), 32, 2) and bounds (.., 3)."""
    return reference.screen(codebooks), reference.bounds(codebooks, offsets)


@pack_screen.register_fake
def _(codebooks: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    layers, groups, size, width = codebooks.shape
    count = (size + PANEL - 1) // PANEL
    shape = (layers, groups, count, (width + 1) // 2, PANEL, 2)
    screen = codebooks.new_empty(shape, dtype=torch.bfloat16)
    return screen, codebooks.new_empty((layers, groups, count, 3))


@op
def residual_quantize(
    x: Tensor,
    codebooks: Tensor,
    offsets: Tensor,
    panels: Tensor | None,
    screen: Tensor | None,
    bounds: Tensor | None,
    masks: Tensor | None,
    screened: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes (N, Q, G), quantized (N, D) and energies (N, Q)."""
    reference.check_finite(x)
    return reference.residual_quantize(x, codebooks, offsets, masks)


@residual_quantize.register_fake
def _(
    x: Tensor,
    codebooks: Tensor,
    offsets: Tensor,
    panels: Tensor | None,
    screen: Tensor | None,
    bounds: Tensor | None,
    masks: Tensor | None,
    screened: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows, layers, groups = x.shape[0], codebooks.shape[0], codebooks.shape[1]
    codes = x.new_empty((rows, layers, groups), dtype=torch.int64)
    return codes, x.new_empty(x.shape), x.new_empty((rows, layers))


@op
def nearest_code(
    x: Tensor,
    codebook: Tensor,
    offsets: Tensor,
    panels: Tensor | None,
    screen: Tensor | None,
    bounds: Tensor | None,
    screened: bool,
) -> Tensor:
    """Return the codes (N,) of x (N, D) in a book (K, D)."""
    reference.check_finite(x)
    return reference.nearest_code(x, codebook, offsets)


@nearest_code.register_fake
def _(
    x: Tensor,
    codebook: Tensor,
    offsets: Tensor,
    panels: Tensor | None,
    screen: Tensor | None,
    bounds: Tensor | None,
    screened: bool,
) -> Tensor:
    return x.new_empty((x.shape[0],), dtype=torch.int64)


@op
def lookup_sum(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sums (N, G * d) of codes (N, Q, G) of books (Q, G, K, d)."""
    reference.check_codes(codes, codebooks.shape[2])
    return reference.lookup_sum(codes, codebooks)


@lookup_sum.register_fake
def _(codes: Tensor, codebooks: Tensor) -> Tensor:
    return codebooks.new_empty((codes.shape[0], codebooks.shape[1] * codebooks.shape[3]))


@op
def lookup_sum_backward(grad: Tensor, codes: Tensor, size: int) -> Tensor:
    """Return the gradient (Q, G, K, d) of the books from that of the sums (N, G * d)."""
    reference.check_codes(codes, size)
    return reference.lookup_sum_backward(grad, codes, size)


@lookup_sum_backward.register_fake
def _(grad: Tensor, codes: Tensor, size: int) -> Tensor:
    layers, groups = codes.shape[1], codes.shape[2]
    return grad.new_empty((layers, groups, size, grad.shape[1] // groups))


def _keep_codes(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    codes, codebooks = inputs
    ctx.save_for_backward(codes)
    ctx.size = codebooks.shape[2]


def _books_gradient(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
    (codes,) = ctx.saved_tensors
    return None, lookup_sum_backward(grad, codes, ctx.size)


def _keep_only_codes(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _sums_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    # The scatter of a lookup is a lookup again: gradients of gradients come at no cost.
    (codes,) = ctx.saved_tensors
    return lookup_sum(codes, grad), None, None


lookup_sum.register_autograd(_books_gradient, setup_context=_keep_codes)
lookup_sum_backward.register_autograd(_sums_gradient, setup_context=_keep_only_codes)


@op
def codebook_statistics(x: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return counts (K,) and sums (K, D) of the vectors (N, D) that have each code (N,)."""
    reference.check_codes(codes, size)
    return reference.codebook_statistics(x, codes, size)


@codebook_statistics.register_fake
def _(x: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    return x.new_empty((size,)), x.new_empty((size, x.shape[1]))

"""The ops of integrate-and-fire under `torch.ops.echoic`: schema, form and gradients.

As in registry.py: the bodies are the reference, and stand where there is no compiled kernel. Alphas
and weights are float64 here; cif.py sees to it.
"""

from typing import Any

import torch
from torch import Tensor

from echoic.cuda_ext import cif_reference as reference
from echoic.cuda_ext.registry import op


@op
def cif(
    hidden: Tensor,
    alphas: Tensor,
    lengths: Tensor | None,
    counts: Tensor | None,
    max_tokens: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens (B, N, D), their counts (B,) and fires (B, N); N is `max_tokens` if given."""
    where = reference.spans(alphas, lengths)
    found = reference.counts_of(where.total, counts, max_tokens)
    size = _longest(found) if max_tokens is None else max_tokens
    tokens, fires = reference.tokens(hidden, where, found, counts is not None, size)
    return tokens.to(hidden.dtype), found, fires


@cif.register_fake
def _(
    hidden: Tensor,
    alphas: Tensor,
    lengths: Tensor | None,
    counts: Tensor | None,
    max_tokens: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size() if max_tokens is None else max_tokens
    return _outputs(hidden, alphas, size)


@op
def cif_backward(
    grad: Tensor,
    hidden: Tensor,
    alphas: Tensor,
    lengths: Tensor | None,
    counts: Tensor,
    open_ended: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of hidden and alphas; `open_ended` where the counts were given."""
    where = reference.spans(alphas, lengths)
    return reference.gradients(grad, hidden, where, counts, open_ended)


@cif_backward.register_fake
def _(
    grad: Tensor,
    hidden: Tensor,
    alphas: Tensor,
    lengths: Tensor | None,
    counts: Tensor,
    open_ended: bool,
) -> tuple[Tensor, Tensor]:
    return hidden.new_empty(hidden.shape), alphas.new_empty(alphas.shape)


@op
def cif_step(
    hidden: Tensor, alphas: Tensor, lengths: Tensor | None, weight: Tensor, carry: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return tokens, counts, fires, and what is left over: its weight (B,) and sum (B, D)."""
    where = reference.spans(alphas, lengths, weight)
    counts = reference.counts_of(where.total, None, None)
    size = _longest(counts)
    # What is left over is one more token, without an upper end.
    all_tokens, fires = reference.tokens(hidden, where, counts + 1, True, size + 1)
    all_tokens[:, 0] += carry
    rows = torch.arange(len(counts), device=counts.device)
    rest = all_tokens[rows, counts]
    all_tokens[rows, counts] = 0
    fires[rows, counts] = 0
    tokens = all_tokens[:, :size].to(hidden.dtype).clone()
    return tokens, counts, fires[:, :size].clone(), where.total - counts, rest


@cif_step.register_fake
def _(
    hidden: Tensor, alphas: Tensor, lengths: Tensor | None, weight: Tensor, carry: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    outputs = _outputs(hidden, alphas, torch.library.get_ctx().new_dynamic_size())
    return *outputs, weight.new_empty(weight.shape), carry.new_empty(carry.shape)


def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Keep what the gradients need; S is added up again there."""
    hidden, alphas, lengths, counts, _ = inputs
    _, found, fires = output
    ctx.mark_non_differentiable(found, fires)
    ctx.save_for_backward(hidden, alphas, lengths, found)
    ctx.open_ended = counts is not None


def differentiate(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, None, None, None]:
    """Return the gradients of hidden and alphas."""
    hidden, alphas, lengths, found = ctx.saved_tensors
    grads = cif_backward(grad, hidden, alphas, lengths, found, ctx.open_ended)
    return *grads, None, None, None


cif.register_autograd(differentiate, setup_context=keep)


def _longest(counts: Tensor) -> int:
    return int(counts.max()) if counts.numel() else 0


def _outputs(hidden: Tensor, alphas: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, width = hidden.shape[0], hidden.shape[2]
    tokens = hidden.new_empty((batch, size, width))
    counts = hidden.new_empty((batch,), dtype=torch.int64)
    return tokens, counts, alphas.new_empty((batch, size))

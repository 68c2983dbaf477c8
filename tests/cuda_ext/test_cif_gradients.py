"""Gradients of integrate-and-fire, by torch and by the kernel."""

import pytest
import torch
from cif_by_definition import draw
from torch import Tensor

from echoic.cuda_ext.cif import cif


def weights_of(alphas: Tensor, counts: Tensor | None, size: int) -> Tensor:
    """The weights (B, N, T) of the definition, for torch to differentiate."""
    after = alphas.double().cumsum(1)
    before = after - alphas.double()
    token = torch.arange(size)
    upper = (token + 1).double().expand(len(alphas), size)
    found = after[:, -1].floor() if counts is None else counts
    if counts is not None:
        upper = upper.where(token != found[:, None] - 1, torch.inf)
    end = torch.minimum(after[:, None], upper[:, :, None])
    weights = (end - torch.maximum(before[:, None], token[:, None])).clamp(min=0)
    return weights * (token < found[:, None])[:, :, None]


@pytest.mark.parametrize("scale", [0.7, 2.9])
@pytest.mark.parametrize("counts", [None, (9, 2, 0)])
@pytest.mark.usefixtures("cif_way")
def test_gradients_are_those_of_finite_differences(scale: float, counts: tuple[int, ...] | None):
    hidden, alphas = draw(3, 14, 5, scale)
    lengths = torch.tensor([14, 9, 11])
    wanted = None if counts is None else torch.tensor(counts)
    # Away from 0 and from whole sums, where one-sided derivatives differ.
    leaves = hidden.double().requires_grad_(), (alphas.double() + 0.0123).requires_grad_()
    assert torch.autograd.gradcheck(lambda h, a: cif(h, a, lengths, wanted).tokens, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.4, 3.0])
@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.usefixtures("cif_way")
def test_gradients_are_those_of_the_weights(wanted: bool, scale: float, dtype: torch.dtype):
    """Rows of more tokens than a block, channels that fill no vector, and no zeros in alphas."""
    hidden, alphas = draw(3, 230, 37, scale)
    counts = torch.tensor([40, 170, 3]) if wanted else None
    leaves = hidden.to(dtype).requires_grad_(), (alphas.double() + 1e-3).requires_grad_()
    result = cif(leaves[0], leaves[1], counts=counts)
    grad = torch.randn(result.tokens.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    mine = torch.autograd.grad(result.tokens, leaves, grad)
    weights = weights_of(leaves[1], counts, result.tokens.shape[1])
    want = torch.autograd.grad(weights @ leaves[0].double(), leaves, grad.double())
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    for one, other in zip(mine, want, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("cif_way")
def test_the_scale_of_training_is_learnt_through():
    """The sum of scaled alphas is fixed: a common factor of alphas changes no token."""
    hidden, alphas = draw(1, 40, 8, 0.5)
    alphas = (alphas + 0.01).double().requires_grad_()
    tokens = cif(hidden.double(), alphas * (7 / alphas.sum()), counts=torch.tensor([7])).tokens
    (grad,) = torch.autograd.grad(tokens.square().sum(), alphas)
    assert grad.abs().max() > 0.1
    assert float((grad * alphas).sum().detach()) == pytest.approx(0, abs=1e-9)


@pytest.mark.usefixtures("cif_way")
def test_frames_that_are_not_read_have_no_gradient():
    hidden, alphas = draw(2, 30, 6, 0.8)
    hidden[1, 12:], alphas[1, 12:] = torch.nan, torch.nan
    hidden.requires_grad_()
    alphas.requires_grad_()
    tokens = cif(hidden, alphas, torch.tensor([30, 12])).tokens
    # Rows behind a count get gradients too, of losses that do not mask them.
    of_hidden, of_alphas = torch.autograd.grad(tokens, (hidden, alphas), torch.ones_like(tokens))
    assert of_hidden[:, :12].any(dim=2).any(dim=1).all()
    assert not of_hidden[1, 12:].any()
    assert not of_alphas[1, 12:].any()
    assert of_hidden.isfinite().all()
    assert of_alphas.isfinite().all()


@pytest.mark.usefixtures("cif_way")
def test_only_tokens_are_differentiable():
    hidden, alphas = draw(1, 20, 4, 0.8)
    result = cif(hidden.requires_grad_(), alphas.requires_grad_())
    assert result.tokens.requires_grad
    assert not result.fires.requires_grad
    assert not result.counts.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("cif_way")
def test_half_precision_is_computed_in_float32(dtype: torch.dtype):
    hidden, alphas = draw(2, 60, 40, 0.3)
    half = hidden.to(dtype).requires_grad_()
    wide = half.detach().float().requires_grad_()
    own, want = cif(half, alphas), cif(wide, alphas)
    assert own.tokens.dtype == dtype
    assert torch.equal(own.fires, want.fires)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(own.tokens.float(), want.tokens, rtol=step, atol=1e-6)
    own.tokens.square().sum().backward()
    want.tokens.square().sum().backward()
    assert half.grad is not None
    assert wide.grad is not None
    assert half.grad.dtype == dtype
    torch.testing.assert_close(half.grad.float(), wide.grad, rtol=3 * step, atol=3 * step)

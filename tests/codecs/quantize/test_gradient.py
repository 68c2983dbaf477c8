"""The rotation trick against the rotation matrix itself."""

import torch

from echoic.codecs.quantize.gradient import pass_gradient, rotate


def test_the_rotation_gives_the_codes() -> None:
    x, values = torch.randn(20, 6), torch.randn(20, 6)
    torch.testing.assert_close(rotate(x, values), values, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_turned_and_scaled_as_the_latent_was() -> None:
    torch.manual_seed(0)
    x, values, g = (torch.randn(5, dtype=torch.float64) for _ in range(3))
    u, v = x / x.norm(), values / values.norm()
    r = (u + v) / (u + v).norm()
    rotation = torch.eye(5, dtype=torch.float64) - 2 * torch.outer(r, r) + 2 * torch.outer(v, u)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(5, dtype=torch.float64))
    x.requires_grad_()
    (got,) = torch.autograd.grad((rotate(x[None], values[None])[0] * g).sum(), x)
    torch.testing.assert_close(got, values.norm() / x.detach().norm() * rotation.T @ g)


def test_a_latent_or_code_of_length_0_passes_straight() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    values = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    out = rotate(x, values)
    torch.testing.assert_close(out.detach(), values)
    (got,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(got, torch.ones(2, 2))


def test_constants_stay_constants() -> None:
    x, values = torch.randn(3, 2), torch.randn(3, 2)
    for how in ("straight_through", "rotation"):
        assert not pass_gradient(x, values, how).requires_grad

"""The balancer: shares of the gradient, whatever the losses' scales."""

import pytest
import torch

from echoic.codecs.losses import GradientBalancer


def losses(x: torch.Tensor, scale: float = 1.0) -> dict[str, torch.Tensor]:
    return {"left": scale * x[:, 0].sum(), "right": 5 * x[:, 1].sum()}


def test_shares_are_the_weights_whatever_the_scale() -> None:
    x = torch.zeros(4, 2, requires_grad=True)
    for scale in (1e-3, 1.0, 1e6):
        balancer = GradientBalancer({"left": 3.0, "right": 1.0})
        gradient = balancer(losses(x, scale), x)
        assert torch.allclose(gradient, torch.tensor([0.75, 0.25]).expand(4, 2))


def test_a_missing_loss_leaves_its_share_to_the_others() -> None:
    x = torch.zeros(4, 2, requires_grad=True)
    balancer = GradientBalancer({"left": 3.0, "right": 1.0}, total=2.0)
    gradient = balancer({"right": losses(x)["right"]}, x)
    assert torch.allclose(gradient, torch.tensor([0.0, 2.0]).expand(4, 2))


def test_norms_are_averaged_and_kept() -> None:
    x = torch.zeros(1, 2, requires_grad=True)
    first = GradientBalancer({"left": 1.0, "right": 1.0}, decay=0.5)
    first(losses(x, 1.0), x)
    second = GradientBalancer({"left": 1.0, "right": 1.0}, decay=0.5)
    second.load_state_dict(first.state_dict())
    # (0.25 * 1 + 0.5 * 4) / 0.75 = 3 is the mean norm, 4 the new one.
    gradient = second(losses(x, 4.0), x)
    assert float(gradient[0, 0]) == pytest.approx(0.5 * 4 / 3)


def test_unknown_losses_and_bad_settings() -> None:
    x = torch.zeros(1, 2, requires_grad=True)
    with pytest.raises(ValueError, match="no weight for right"):
        GradientBalancer({"left": 1.0})(losses(x), x)
    with pytest.raises(ValueError, match="decay is 1"):
        GradientBalancer({"left": 1.0}, decay=1.0)

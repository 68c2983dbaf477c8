"""The losses that a step adds to the model's own."""

import pytest
import torch
from torch import Tensor

from echoic.asr.paraformer.training.objective import Glancing, Mwer, consistency_loss


def divergence(target: Tensor, found: Tensor) -> Tensor:
    p, q = target.softmax(-1), found.softmax(-1)
    return (p * (p.log() - q.log())).sum()


def test_each_view_learns_from_the_other_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 7, generator=generator, requires_grad=True)
    lengths = torch.tensor([5, 3, 5, 3])
    loss = consistency_loss(logits, lengths)
    loss.backward()
    with torch.no_grad():
        expected = torch.zeros(())
        for row, other, n in ((0, 2, 5), (1, 3, 3), (2, 0, 5), (3, 1, 3)):
            expected += divergence(logits[other, :n], logits[row, :n])
        assert float(loss) == pytest.approx(float(expected) / 4, rel=1e-5)
        # Of a divergence from a target that does not move: softmax less the target.
        own, other = logits.softmax(-1), logits.roll(2, 0).softmax(-1)
        gradient = (own - other) / 4
        gradient[1, 3:] = gradient[3, 3:] = 0
    assert logits.grad is not None
    assert torch.allclose(logits.grad, gradient, atol=1e-6)


def test_two_views_that_are_one_agree() -> None:
    logits = torch.randn(2, 5, 7).repeat(2, 1, 1)
    lengths = torch.tensor([5, 3, 5, 3])
    assert float(consistency_loss(logits, lengths)) == pytest.approx(0.0, abs=1e-6)


def test_glancing_goes_in_a_line() -> None:
    shares = Glancing(0.8, 0.2, 100)
    assert [shares.at(step) for step in (0, 50, 100, 1000)] == pytest.approx([0.8, 0.5, 0.2, 0.2])
    with pytest.raises(ValueError, match=r"glancing is 0\.8 to 1\.2 in 100 steps"):
        Glancing(0.8, 1.2, 100)


def test_expected_errors_need_a_choice() -> None:
    with pytest.raises(ValueError, match="samples 1, rate"):
        Mwer(samples=1)
